import { sql } from "drizzle-orm";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import {
  expectAllKept,
  family,
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

describe("foreign keys that a migration breaks", () => {
  it("refuse it, with table and row, and nothing of it is kept", async () => {
    await startFamily(database);
    const broken = rebuild().toSpliced(-1, 0, "DELETE FROM parents WHERE id = 2");
    database.writeMigrations({ "0000_first": family, "0001_broken": broken });
    const message = database.refusal();
    expect(message).toContain("0001_broken.sql");
    expect(message).toMatch(/row 2 of "?(cascading|nulling|restricting|plain|deferred)/);
    expect(message).toContain("parents");
    expect(message).not.toContain("\n");
    expectAllKept(database);
    expect(database.read("SELECT name FROM sqlite_schema WHERE name LIKE '%new%'")).toEqual([]);
    database.writeMigrations({ "0000_first": family, "0001_broken": rebuild() });
    await database.openAndClose();
    expectAllKept(database);
  });

  it("refuse it also where the rows are in a table without row IDs, or whose key is no longer one", async () => {
    const first = [
      "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
      "CREATE TABLE keyed (name TEXT PRIMARY KEY, parent INTEGER REFERENCES parents (id)) WITHOUT ROWID",
      "INSERT INTO parents (id) VALUES (1)",
      "INSERT INTO keyed VALUES ('a', 1)",
    ];
    database.writeMigrations({ "0000_first": first });
    await database.openAndClose();
    const off = "PRAGMA foreign_keys=OFF";
    database.writeMigrations({ "0000_first": first, "0001_broken": [off, "DELETE FROM parents"] });
    expect(database.refusal()).toMatch(/0001_broken.*keyed/);
    const keyless = ["CREATE TABLE p (id INTEGER)", "DROP TABLE parents", "ALTER TABLE p RENAME TO parents"];
    database.writeMigrations({ "0000_first": first, "0001_broken": [off, ...keyless] });
    expect(database.refusal()).toMatch(/0001_broken.*foreign key mismatch/);
    expect(database.read("SELECT * FROM keyed")).toEqual([["a", 1]]);
  });

  it.each([
    ["in a table that stays", "", []],
    ["in a table that loses some of them", "", ["DELETE FROM plain WHERE id = 4"]],
    ["in a table that is renamed", "", ["ALTER TABLE plain RENAME TO plainer"]],
    ["in a column that is renamed", "", ["ALTER TABLE plain RENAME COLUMN parent TO ancestor"]],
    ["in a table that is dropped", "", ["DROP TABLE plain"]],
    [
      "in a table whose rows get other IDs",
      "",
      [
        "CREATE TABLE __new_plain (id TEXT PRIMARY KEY, parent INTEGER REFERENCES parents (id))",
        "INSERT INTO __new_plain SELECT id || 'a', parent FROM plain ORDER BY id DESC",
        "DROP TABLE plain",
        "ALTER TABLE __new_plain RENAME TO plain",
      ],
    ],
    [
      "in a table without row IDs",
      "CREATE TABLE keyed (name TEXT PRIMARY KEY, parent INTEGER REFERENCES parents (id)) WITHOUT ROWID; INSERT INTO keyed VALUES ('a', 404)",
      ["INSERT INTO keyed VALUES ('b', 1)"],
    ],
    [
      "as a key that its parent lacks",
      "CREATE TABLE amiss (status TEXT REFERENCES parents (status)); INSERT INTO amiss VALUES ('a')",
      [],
    ],
    [
      "as a parent that is missing",
      "CREATE TABLE lost (a INTEGER REFERENCES nowhere (a)); INSERT INTO lost VALUES (1)",
      [],
    ],
    [
      "as a key of two columns",
      "CREATE TABLE pairs (a INTEGER, b TEXT, PRIMARY KEY (a, b)); CREATE TABLE paired (a INTEGER, b TEXT, FOREIGN KEY (a, b) REFERENCES pairs); INSERT INTO paired VALUES (1, 'x'), (2, NULL)",
      [],
    ],
    [
      "as names that must be quoted",
      `CREATE TABLE "a""b" ("c""d" BLOB REFERENCES parents (id)); INSERT INTO "a""b" VALUES (x'00'), (9223372036854775807)`,
      [],
    ],
  ])("and that were broken before keep no server from starting: %s", async (_where, before, more) => {
    await startFamily(database);
    database.writeUnchecked(`INSERT INTO plain (parent) VALUES (404), (404); ${before}`);
    const steps = rebuild().toSpliced(-1, 0, ...more);
    database.writeMigrations({ "0000_first": family, "0001_rebuild": steps });
    await database.openAndClose();
    expect(database.read("SELECT parent FROM cascading ORDER BY id")).toEqual([[1], [2], [null]]);
    database.writeMigrations({
      "0000_first": family,
      "0001_rebuild": steps,
      "0002_broken": ["PRAGMA foreign_keys=OFF", "INSERT INTO cascading (id, parent) VALUES (9, 404)"],
    });
    expect(database.refusal()).toMatch(/0002_broken.*row 9 of "?cascading/);
  });
});

describe("what a migration's transaction can't honour", () => {
  it.each([
    ["PRAGMA journal_mode=DELETE", "journal_mode"],
    ["pragma main.journal_mode(truncate)", "journal_mode"],
    ["PRAGMA synchronous=OFF", "synchronous"],
    ["PRAGMA locking_mode=EXCLUSIVE", "locking_mode"],
    ["PRAGMA query_only=ON", "query_only"],
    ["PRAGMA auto_vacuum = FULL", "auto_vacuum"],
    ["PRAGMA page_size=8192", "page_size"],
    ["PRAGMA encoding='UTF-16'", "encoding"],
    ["PRAGMA wal_checkpoint(TRUNCATE)", "wal_checkpoint"],
    ["/* tidy */ VACUUM", "VACUUM"],
    ["vacuum into 'copy.db'", "VACUUM"],
    ["ATTACH ':memory:' AS other", "ATTACH"],
    ["DETACH DATABASE other", "DETACH"],
    ["BEGIN", "BEGIN"],
    ["-- done\nCOMMIT;", "COMMIT"],
    ["END TRANSACTION", "END"],
    ["ROLLBACK", "ROLLBACK"],
    ["RELEASE a", "RELEASE"],
    ["SAVEPOINT a", "SAVEPOINT"],
  ])(
    "is refused before anything has run, with its name, the file's, and what to do: %j",
    async (text, name) => {
      database.writeMigrations({ "0000_first": family, "0001_void": ["CREATE TABLE other (a)", text] });
      const message = database.refusal();
      expect(message).toContain(name);
      expect(message).toContain("0001_void.sql");
      expect(message).toMatch(/Leave it out|leave it out/);
      expect(message).not.toContain("\n");
      const made = database.read("SELECT name FROM sqlite_schema WHERE name IN ('parents', 'other')");
      expect(made).toEqual([]);
      database.writeMigrations({ "0000_first": family, "0001_void": ["CREATE TABLE other (a)"] });
      await database.openAndClose();
      expect(database.read("SELECT count(*) FROM other")).toEqual([[0]]);
    },
  );

  it.each([
    ["PRAGMA journal_mode=WAL"],
    ["PRAGMA journal_mode"],
    ["PRAGMA foreign_keys"],
    ["PRAGMA foreign_keys=ON"],
    ["PRAGMA foreign_key_check"],
    ["PRAGMA page_size"],
    ["PRAGMA user_version=7"],
    ["PRAGMA defer_foreign_keys=ON"],
    ["PRAGMA cache_size=100"],
    ["SELECT 'PRAGMA journal_mode=DELETE'"],
    ["CREATE TABLE vacuum_cleaners (a)"],
    ["CREATE TRIGGER t AFTER INSERT ON parents BEGIN DELETE FROM plain; END"],
    ["INSERT INTO parents (status) VALUES ('; COMMIT; PRAGMA foreign_keys=OFF')"],
    ["-- PRAGMA journal_mode=DELETE\nSELECT 1"],
  ])("is not what it looks like here: %j", async (statement) => {
    database.writeMigrations({ "0000_first": family, "0001_fine": [statement] });
    await database.openAndClose();
    expect(database.read("SELECT count(*) FROM __drizzle_migrations")).toEqual([[2]]);
  });

  it("keeps no server from starting where it was applied long ago, by another program", async () => {
    await startFamily(database);
    database.writeMigrations({ "0000_first": ["PRAGMA journal_mode=DELETE", ...family] });
    await database.openAndClose();
    expectAllKept(database);
  });
});

describe("settings of a connection that a migration makes", () => {
  it.each([
    ["ignore_check_constraints", 0],
    ["legacy_alter_table", 0],
    ["recursive_triggers", 0],
    ["reverse_unordered_selects", 0],
    ["count_changes", 0],
    ["trusted_schema", 1],
  ])("end with it: %s", async (name, expected) => {
    database.writeMigrations({ "0000_first": [...family, `PRAGMA ${name}=${expected === 0 ? 1 : 0}`] });
    await using opened = database.open();
    expect(await opened.write((tx) => tx.values(sql.raw(`PRAGMA ${name}`)))).toEqual([[expected]]);
    await opened.write((tx) => tx.run(sql`INSERT INTO parents (id) VALUES (1)`));
  });
});

describe("several statements in one piece", () => {
  it.each([
    ["after foreign keys are switched off", "PRAGMA foreign_keys=OFF; CREATE TABLE other (a)"],
    ["before they are", "CREATE TABLE other (a); PRAGMA foreign_keys=OFF; DROP TABLE parents"],
    ["with the end of the transaction among them", "CREATE TABLE other (a); COMMIT"],
  ])("are refused, since only the first could be checked: %s", async (_where, piece) => {
    await startFamily(database);
    database.writeMigrations({ "0000_first": family, "0001_several": [piece] });
    expect(database.refusal()).toMatch(/0001_several.*more than one statement/);
    expectAllKept(database);
    expect(database.read("SELECT name FROM sqlite_schema WHERE name = 'other'")).toEqual([]);
    expect(database.read("SELECT count(*) FROM __drizzle_migrations")).toEqual([[1]]);
  });
});
