import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { type Database, type DatabaseOptions, openDatabase } from "graphql-idempotent/sqlite";
import { expect } from "vitest";
import { temporaryFolder } from "../stores/sqlite/entries-database.ts";

type Tables = Record<string, never>;
type Options = Partial<DatabaseOptions<Tables>>;

/** A database file and a folder of migrations for it. */
export interface MigratedDatabase extends Disposable {
  readonly folder: string;
  readonly file: string;
  /** Writes the migrations as drizzle-kit does: by their tags, each a list of statements. */
  writeMigrations(migrations: Readonly<Record<string, readonly string[]>>): void;
  open(options?: Options): Database<Tables>;
  openAndClose(options?: Options): Promise<void>;
  /** The message that opening fails with. */
  refusal(): string;
  /** What a connection of its own reads, in arrays. */
  read(query: string): unknown[];
  /** Writes past the checks of foreign keys, as a program that doesn't know of them. */
  writeUnchecked(statements: string): void;
}

export function migratedDatabase(): MigratedDatabase {
  const temporary = temporaryFolder();
  const folder = temporary.path;
  const file = join(folder, "migrated.db");
  const open = (options: Options = {}) =>
    openDatabase(file, { schema: {}, migrationsFolder: folder, ...options });

  return {
    folder,
    file,
    writeMigrations(migrations) {
      mkdirSync(join(folder, "meta"), { recursive: true });
      const entries = Object.entries(migrations).map(([tag, statements], idx) => {
        writeFileSync(join(folder, `${tag}.sql`), statements.join("--> statement-breakpoint\n"));
        return { idx, version: "6", when: idx + 1, tag, breakpoints: true };
      });
      const journal = { version: "7", dialect: "sqlite", entries };
      writeFileSync(join(folder, "meta", "_journal.json"), JSON.stringify(journal));
    },
    open,
    openAndClose: async (options) => open(options).close(),
    refusal() {
      try {
        void open().close();
      } catch (error) {
        return (error as Error).message; // `as`: openDatabase() throws Errors
      }
      return "It was not refused.";
    },
    read(query) {
      const connection = new Sqlite(file, { readonly: true });
      try {
        return connection.prepare(query).raw().all();
      } finally {
        connection.close();
      }
    },
    writeUnchecked(statements) {
      const connection = new Sqlite(file);
      connection.pragma("foreign_keys = OFF");
      connection.exec(statements);
      connection.close();
    },
    [Symbol.dispose]: () => temporary[Symbol.dispose](),
  };
}

/** What becomes of rows, by the name of their table, when the parent that they refer to is deleted. */
const onDelete = {
  cascading: "ON DELETE CASCADE",
  nulling: "ON DELETE SET NULL",
  restricting: "ON DELETE RESTRICT",
  plain: "",
  deferred: "DEFERRABLE INITIALLY DEFERRED",
};

/** The first migration: a table, and others that refer to it in every way. */
export const family = [
  "CREATE TABLE parents (id INTEGER PRIMARY KEY, status TEXT NOT NULL DEFAULT 'new')",
  ...Object.entries(onDelete).map(
    ([name, action]) =>
      `CREATE TABLE ${name} (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents (id) ${action})`,
  ),
];

/** Rows for the first migration's tables. */
export const familyRows = [
  "INSERT INTO parents (id) VALUES (1), (2)",
  ...Object.keys(onDelete).map((name) => `INSERT INTO ${name} (parent) VALUES (1), (2), (NULL)`),
].join(";");

/** How drizzle-kit rebuilds the parents for another default, since SQLite can't change a column. */
export function rebuild(off = "PRAGMA foreign_keys=OFF;"): string[] {
  return [
    off,
    "CREATE TABLE `__new_parents` (id INTEGER PRIMARY KEY, status TEXT NOT NULL DEFAULT 'open');",
    'INSERT INTO `__new_parents`("id", "status") SELECT "id", "status" FROM `parents`;',
    "DROP TABLE `parents`;",
    "ALTER TABLE `__new_parents` RENAME TO `parents`;",
    "PRAGMA foreign_keys=ON;",
  ];
}

export async function startFamily(database: MigratedDatabase): Promise<void> {
  database.writeMigrations({ "0000_first": family });
  await database.openAndClose();
  database.writeUnchecked(familyRows);
}

export function expectAllKept({ read }: MigratedDatabase): void {
  const kept = [
    [1, 1],
    [2, 2],
    [3, null],
  ];
  for (const name of Object.keys(onDelete)) {
    expect([name, read(`SELECT id, parent FROM ${name} ORDER BY id`)]).toEqual([name, kept]);
  }
  expect(read("SELECT id, status FROM parents")).toEqual([
    [1, "new"],
    [2, "new"],
  ]);
}
