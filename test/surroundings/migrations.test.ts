import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once as event } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import Sqlite from "better-sqlite3";
import { sql } from "drizzle-orm";
import { openDatabase } from "graphql-idempotent/sqlite";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import {
  expectAllKept,
  family,
  familyRows,
  type MigratedDatabase,
  migratedDatabase,
  rebuild,
  startFamily,
} from "./migrated-database.ts";

let database: MigratedDatabase;

beforeEach(() => {
  database = migratedDatabase();
  onTestFinished(() => database[Symbol.dispose]());
});

describe("a table that a migration rebuilds", () => {
  it.each([
    ["PRAGMA foreign_keys=OFF;"],
    ["pragma foreign_keys = 0"],
    ["PRAGMA foreign_keys=no"],
    ["PRAGMA foreign_keys = false;"],
    ["PRAGMA foreign_keys(OFF)"],
    ["PRAGMA foreign_keys ( 'off' ) ;"],
    ["PRAGMA main.foreign_keys=OFF"],
    ['PRAGMA "main"."foreign_keys" = "OFF"'],
    ["PRAGMA [foreign_keys] = 00"],
    ["PRAGMA `foreign_keys`=OFF"],
    ["-- Rebuilt for its default\nPRAGMA foreign_keys=OFF;"],
    ["/* a; b */ PRAGMA/**/foreign_keys/* off */=/**/OFF -- now"],
    ["; ;PRAGMA\n\tforeign_keys\n=\nOFF"],
  ])("keeps all rows that refer to it: %j", async (off) => {
    await startFamily(database);
    database.writeMigrations({ "0000_first": family, "0001_rebuild": rebuild(off) });
    await using opened = database.open();
    expectAllKept(database);
    await opened.write((tx) => tx.run(sql`INSERT INTO parents (id) VALUES (3)`));
    expect(database.read("SELECT status FROM parents WHERE id = 3")).toEqual([["open"]]);
    const orphan = opened.write((tx) => tx.run(sql`INSERT INTO plain (parent) VALUES (404)`));
    await expect(orphan).rejects.toMatchObject({ cause: { code: "SQLITE_CONSTRAINT_FOREIGNKEY" } });
  });

  it("keeps them also where foreign keys are never switched on again", async () => {
    await startFamily(database);
    database.writeMigrations({
      "0000_first": family,
      "0001_rebuild": rebuild().slice(0, -1),
      "0002_more": ["CREATE TABLE more (a)"],
    });
    await using opened = database.open();
    expectAllKept(database);
    const orphan = opened.write((tx) => tx.run(sql`INSERT INTO plain (parent) VALUES (404)`));
    await expect(orphan).rejects.toMatchObject({ cause: { code: "SQLITE_CONSTRAINT_FOREIGNKEY" } });
  });

  it("keeps them when drizzle-kit itself has written the migration", async () => {
    // In the checkout, so that the schema finds drizzle-orm.
    const cache = join(import.meta.dirname, "../../node_modules/.cache");
    mkdirSync(cache, { recursive: true });
    const project = mkdtempSync(join(cache, "drizzle-kit-"));
    onTestFinished(() => rmSync(project, { recursive: true }));
    const migrationsFolder = join(project, "migrations");
    generateMigration(project, "new");
    await database.openAndClose({ migrationsFolder });
    database.writeUnchecked(familyRows);
    generateMigration(project, "open");
    await database.openAndClose({ migrationsFolder });
    expectAllKept(database);
    database.writeUnchecked("INSERT INTO parents (id) VALUES (3)");
    expect(database.read("SELECT status FROM parents WHERE id = 3")).toEqual([["open"]]);
  });

  it("leaves the migrations beside it what they are: a cascade there deletes what it should", async () => {
    await startFamily(database);
    const others = ["restricting", "plain", "deferred"];
    const remove = (id: number) => [
      ...others.map((name) => `DELETE FROM ${name} WHERE parent = ${id}`),
      `DELETE FROM parents WHERE id = ${id}`,
    ];
    database.writeMigrations({
      "0000_first": family,
      "0001_remove": remove(2),
      "0002_rebuild": rebuild(),
      "0003_remove": remove(1),
    });
    await database.openAndClose();
    expect(database.read("SELECT id, parent FROM cascading")).toEqual([[3, null]]);
    expect(database.read("SELECT id, parent FROM nulling")).toEqual([
      [1, null],
      [2, null],
      [3, null],
    ]);
  });
});

/** Lets drizzle-kit write the next migration of a project, in which parents have such a default. */
function generateMigration(project: string, status: string): void {
  const child = (name: string, action: string) =>
    `export const ${name} = sqliteTable("${name}", {
       id: integer().primaryKey(),
       parent: integer().references(() => parents.id, { onDelete: "${action}" }),
     });`;
  const tables = [
    'import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";',
    `export const parents = sqliteTable("parents", { id: integer().primaryKey(), status: text().notNull().default("${status}") });`,
    child("cascading", "cascade"),
    child("nulling", "set null"),
    child("restricting", "restrict"),
    child("plain", "no action"),
    child("deferred", "no action"),
  ];
  writeFileSync(join(project, "tables.ts"), tables.join("\n"));
  const drizzleKit = join(dirname(createRequire(import.meta.url).resolve("drizzle-kit")), "bin.cjs");
  const flags = ["generate", "--dialect", "sqlite", "--schema", "tables.ts", "--out", "migrations"];
  execFileSync(process.execPath, [drizzleKit, ...flags], { cwd: project, stdio: "pipe" });
}

describe("opening", () => {
  it("waits for nobody's lock when there is nothing to apply", async () => {
    await startFamily(database);
    const other = new Sqlite(database.file);
    other.exec("BEGIN IMMEDIATE");
    const startedAt = performance.now();
    await database.openAndClose();
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    other.close();
  });

  it("gives migrations what configure() sets up", async () => {
    database.writeMigrations({ "0000_first": ["CREATE TABLE a AS SELECT twice('a') AS a"] });
    await database.openAndClose({
      configure: (connection) => void connection.function("twice", (text) => `${text}${text}`),
    });
    expect(database.read("SELECT a FROM a")).toEqual([["aa"]]);
  });
});

/** A rebuild that takes a second or so, so that others come meanwhile. */
function slowRebuild(): string[] {
  const numbers =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000) SELECT max(i) FROM n";
  return rebuild().toSpliced(4, 0, `CREATE TABLE slow AS ${numbers}`);
}

describe("a rebuild", () => {
  it("happens once when several processes open the file at one moment, and keeps all rows", async () => {
    await startFamily(database);
    database.writeMigrations({
      "0000_first": family,
      "0001_slow": slowRebuild(),
      "0002_note": ["CREATE TABLE note (a)", "INSERT INTO note VALUES (1)"],
    });
    const processes = await Promise.all([1, 2, 3].map(() => openingProcess()));
    for (const { child } of processes) child.stdin?.end("open\n");
    expect(await Promise.all(processes.map(({ next }) => next()))).toEqual(["opened", "opened", "opened"]);
    expectAllKept(database);
    expect(database.read("SELECT * FROM note")).toEqual([[1]]);
    expect(database.read("SELECT count(*) FROM __drizzle_migrations")).toEqual([[3]]);
  });

  it("that is killed half way leaves all as it was, and is done by the next", async () => {
    await startFamily(database);
    database.writeMigrations({ "0000_first": family, "0001_slow": slowRebuild() });
    const { child } = await openingProcess();
    const ended = event(child, "exit");
    child.stdin?.end("open\n");
    while (!isLocked()) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 50));
    child.kill("SIGKILL");
    expect(await ended).toEqual([null, "SIGKILL"]);
    expectAllKept(database);
    expect(database.read("SELECT count(*) FROM __drizzle_migrations")).toEqual([[1]]);
    await database.openAndClose();
    expectAllKept(database);
    expect(database.read("SELECT count(*) FROM slow")).toEqual([[1]]);
  });

  it("that fails half way leaves all as it was", async () => {
    await startFamily(database);
    const bad = rebuild().toSpliced(4, 0, "INSERT INTO nowhere VALUES (1)");
    database.writeMigrations({ "0000_first": family, "0001_bad": bad });
    expect(database.refusal()).toMatch(/0001_bad.*no such table: nowhere/);
    expectAllKept(database);
    await using opened = openDatabase(database.file, { schema: {} });
    const orphan = opened.write((tx) => tx.run(sql`INSERT INTO plain (parent) VALUES (404)`));
    await expect(orphan).rejects.toMatchObject({ cause: { code: "SQLITE_CONSTRAINT_FOREIGNKEY" } });
  });
});

function isLocked(): boolean {
  const connection = new Sqlite(database.file, { timeout: 0 });
  try {
    connection.exec("BEGIN IMMEDIATE; ROLLBACK");
    return false;
  } catch {
    return true;
  } finally {
    connection.close();
  }
}

/** A process with the built package, which opens the file when it is told to. */
async function openingProcess(): Promise<{ child: ChildProcess; next: () => Promise<string> }> {
  const { file, folder } = database;
  const script = `
    import { openDatabase } from "graphql-idempotent/sqlite";
    console.log("ready");
    for await (const _line of process.stdin) {
      const options = { schema: {}, migrationsFolder: ${JSON.stringify(folder)} };
      await openDatabase(${JSON.stringify(file)}, options).close();
      console.log("opened");
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async () => (await lines.next()).value as string; // `as`: its lines, as long as it lives
  expect(await next()).toBe("ready");
  return { child, next };
}
