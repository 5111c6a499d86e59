import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { Store } from "graphql-idempotent";
import {
  type Database,
  type DatabaseOptions,
  idempotencyRecords,
  openDatabase,
  type SqliteStoreOptions,
  sqliteStore,
  type Transaction,
} from "graphql-idempotent/sqlite";
import { createTables } from "../../create-tables.ts";

export const entries = sqliteTable("entries", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  text: text("text").notNull().unique(),
});

export const tables = { idempotencyRecords, entries };
export type Tables = typeof tables;
export type Tx = Transaction<Tables>;

/** A folder of its own for a test's files. */
export function temporaryFolder(): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "graphql-idempotent-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export interface Entries extends AsyncDisposable {
  readonly database: Database<Tables>;
  readonly store: Store<Tx>;
  /** The store's clock: tests set it. */
  readonly clock: { now: number };
  /** What is in the table of entries, as everybody sees it. */
  texts(): string[];
}

export interface EntriesOptions {
  readonly database?: Partial<DatabaseOptions<Tables>>;
  readonly store?: SqliteStoreOptions;
}

/** The time at which every test's clock stands. */
export const noon = Date.parse("2026-01-15T12:00:00.000Z");

let made: Promise<Buffer> | undefined;

/** A database file with the tables and nothing in them; made once, since drizzle-kit takes its time. */
function emptyFile(): Promise<Buffer> {
  made ??= makeEmptyFile();
  return made;
}

async function makeEmptyFile(): Promise<Buffer> {
  using folder = temporaryFolder();
  const file = join(folder.path, "empty.db");
  await createTables(file, tables);
  return readFileSync(file);
}

/** A database with one table of entries and the table of records, and a store on it. */
export async function openEntries({ database = {}, store = {} }: EntriesOptions = {}): Promise<Entries> {
  const folder = temporaryFolder();
  const file = join(folder.path, "entries.db");
  writeFileSync(file, await emptyFile());
  const opened = openDatabase(file, { schema: tables, ...database });
  const clock = { now: noon };

  async function dispose(): Promise<void> {
    await opened.close();
    folder[Symbol.dispose]();
  }

  return {
    database: opened,
    store: sqliteStore(opened, { now: () => clock.now, purgeEveryMs: 0, ...store }),
    clock,
    texts: () =>
      opened.db
        .select({ text: entries.text })
        .from(entries)
        .orderBy(entries.id)
        .all()
        .map(({ text }) => text),
    [Symbol.asyncDispose]: dispose,
  };
}
