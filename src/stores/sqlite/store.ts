import type Sqlite from "better-sqlite3";
import { getTableColumns, inArray, lte, type SQL, sql } from "drizzle-orm";
import { type BetterSQLite3Database, drizzle } from "drizzle-orm/better-sqlite3";
import { checkOption, checkOptions, isFunction } from "../../options.ts";
import { isPurgePeriod, purgePeriod, purgeRegularly } from "../purge.ts";
import type { RecordIdentity, Store, StoredRecord, TransactionOutcome } from "../store.ts";
import { type Database, internalsOf } from "./database.ts";
import { sqliteLeases } from "./leases.ts";
import { LookUp } from "./look-up.ts";
import { idempotencyRecords } from "./table.ts";
import type { Schema, Transaction } from "./transaction.ts";

export interface SqliteStoreOptions {
  /** The clock of records: milliseconds since the epoch. @default Date.now */
  readonly now?: () => number;
  /** How often expired records are looked for, in milliseconds; 0 for never. @default 10_000 */
  readonly purgeEveryMs?: number;
}

/** Most records that one step of a purge deletes, so that no call waits long behind it. */
const purgeChunk = 100;

/**
 * Keeps records in an SQLite database, in one transaction with what resolvers write through `tx`.
 *
 * @throws {Error} when the table of records is missing
 */
export function sqliteStore<Tables extends Schema>(
  database: Database<Tables>,
  options: SqliteStoreOptions = {},
): Store<Transaction<Tables>> {
  checkOptions("sqliteStore", options, ["now", "purgeEveryMs"]);
  checkOption("sqliteStore", options, "now", "a function", isFunction);
  checkOption("sqliteStore", options, "purgeEveryMs", purgePeriod, isPurgePeriod);
  const { now = Date.now, purgeEveryMs = 10_000 } = options;
  const { writer, connections, inWriter, closing } = internalsOf(database);
  checkTable(connections.finding, database.file);
  const lookUp = new LookUp(connections, { now, checkPlace: () => writer.checkPlace(), closing });
  const insert = prepareInsert(inWriter);
  const deleteExpired = prepareDeleteExpired(inWriter);

  function transaction(
    identity: RecordIdentity,
    work: (tx: Transaction<Tables>, found: StoredRecord | undefined) => Promise<TransactionOutcome>,
  ): Promise<TransactionOutcome> {
    return writer.run(
      identity.field,
      (tx) => work(tx, lookUp.findInTransaction(identity)),
      (verdict, undo) => {
        if (verdict.kind === "discard") undo();
        if (verdict.kind !== "found") insertRecord(verdict.record);
        return verdict;
      },
    );
  }

  function insertRecord(record: StoredRecord): void {
    const { changes } = insert.run(record as object as Record<string, unknown>); // `as`: an interface has no index
    if (changes !== 1) throw new Error("A live record appeared within the transaction that had found none.");
  }

  async function purge(): Promise<number> {
    let total = 0;
    for (;;) {
      const { changes } = await writer.run("purge", () => deleteExpired.run({ now: now() }));
      total += changes;
      if (changes < purgeChunk) return total;
    }
  }

  if (purgeEveryMs > 0) purgeRegularly(purge, purgeEveryMs, closing);
  const leases = sqliteLeases(writer, inWriter, now);
  return {
    now,
    find: (identity) => lookUp.find(identity),
    transaction,
    write: (work) => writer.run("write", work),
    purge,
    leases,
  };
}

function checkTable(connection: Sqlite.Database, file: string): void {
  try {
    drizzle(connection).select().from(idempotencyRecords).limit(1).all();
  } catch (cause) {
    throw new Error(
      `The database ${file} has no table for idempotency records, or one of another form. Re-export idempotencyRecords from your Drizzle schema, generate a migration with drizzle-kit, and apply it: openDatabase(file, { schema, migrationsFolder }).`,
      { cause },
    );
  }
}

/** Replaces a record that has expired, and no other. */
function prepareInsert(drizzle: BetterSQLite3Database) {
  const { scope, field, key, expiresAt } = idempotencyRecords;
  const { leaseUntil, fencingToken, ...columns } = getTableColumns(idempotencyRecords);
  const names = Object.keys(columns) as (keyof typeof columns)[]; // `as`: an object's own names
  // Bare, a placeholder would be wrapped with its column, which costs each insert more than SQLite's own part of it.
  const values = Object.fromEntries(names.map((name) => [name, sql`${sql.placeholder(name)}`]));
  const excluded = Object.fromEntries(names.map((name) => [name, sql.raw(`excluded.${columns[name].name}`)]));
  return drizzle
    .insert(idempotencyRecords)
    .values(values as Record<keyof typeof columns, SQL>) // `as`: one for each name
    .onConflictDoUpdate({
      target: [scope, field, key],
      set: { ...excluded, leaseUntil: null, fencingToken: null },
      setWhere: lte(expiresAt, sql.placeholder("createdAt")),
    })
    .prepare();
}

function prepareDeleteExpired(drizzle: BetterSQLite3Database) {
  const expired = drizzle
    .select({ rowid: sql`rowid` })
    .from(idempotencyRecords)
    .where(lte(idempotencyRecords.expiresAt, sql.placeholder("now")))
    .limit(purgeChunk);
  return drizzle.delete(idempotencyRecords).where(inArray(sql`rowid`, expired)).prepare();
}
