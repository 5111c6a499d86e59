import { and, eq, getTableColumns, gt, inArray, isNull, lte, type Placeholder, sql } from "drizzle-orm";
import type { BetterSQLite3Database } from "drizzle-orm/better-sqlite3";
import { unavailable } from "../errors.ts";
import { checkOption, checkOptions, isFunction } from "../options.ts";
import { isPurgePeriod, purgePeriod, purgeRegularly } from "../purge.ts";
import type { RecordIdentity, Store, StoredRecord, Verdict } from "../store.ts";
import { type Database, internalsOf } from "./database.ts";
import { asStoreError, isBusy } from "./faults.ts";
import { sqliteLeases } from "./leases.ts";
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
  const { writer, turnReader, inWriter, closing } = internalsOf(database);
  checkTable(turnReader.drizzle, database.file);
  const lookUp = prepareLookUp(turnReader.drizzle);
  const lookUpInWriter = prepareLookUp(inWriter);
  const insert = prepareInsert(inWriter);
  const deleteExpired = prepareDeleteExpired(inWriter);

  function find(identity: RecordIdentity): StoredRecord | undefined {
    try {
      writer.checkPlace();
      return recordIn(lookUp, identity);
    } catch (error) {
      // Another process recovers the file: the transaction will wait for it, and look again.
      if (isBusy(error)) return undefined;
      throw closing.aborted ? unavailable("The server is shutting down.", error) : asStoreError(error);
    }
  }

  function recordIn(
    from: ReturnType<typeof prepareLookUp>,
    { scope, field, key }: RecordIdentity,
  ): StoredRecord | undefined {
    const found = from.get({ scope, field, key, now: now() });
    if (!found) return undefined;
    const { fingerprint, resourceId, format, payload, createdAt, expiresAt } = found;
    // Written out, not spread, which costs as much as the look-up itself.
    return { scope, field, key, fingerprint, resourceId, format, payload, createdAt, expiresAt };
  }

  function transaction(
    identity: RecordIdentity,
    work: (tx: Transaction<Tables>, found: StoredRecord | undefined) => Promise<Verdict>,
  ): Promise<Verdict> {
    return writer.run(
      identity.field,
      (tx) => work(tx, recordIn(lookUpInWriter, identity)),
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
  return { now, find, transaction, write: (work) => writer.run("write", work), purge, leases };
}

function checkTable(reader: BetterSQLite3Database, file: string): void {
  try {
    reader.select().from(idempotencyRecords).limit(1).all();
  } catch (cause) {
    throw new Error(
      `The database ${file} has no table for idempotency records, or one of another form. Re-export idempotencyRecords from your Drizzle schema, generate a migration with drizzle-kit, and apply it: openDatabase(file, { schema, migrationsFolder }).`,
      { cause },
    );
  }
}

/** Its columns are those that the caller doesn't know: each one costs a look-up its share. */
function prepareLookUp(drizzle: BetterSQLite3Database) {
  const { scope, field, key, leaseUntil, fencingToken, ...result } = getTableColumns(idempotencyRecords);
  return drizzle
    .select(result)
    .from(idempotencyRecords)
    .where(
      and(
        eq(scope, sql.placeholder("scope")),
        eq(field, sql.placeholder("field")),
        eq(key, sql.placeholder("key")),
        gt(result.expiresAt, sql.placeholder("now")),
        isNull(leaseUntil),
      ),
    )
    .prepare();
}

/** Replaces a record that has expired, and no other. */
function prepareInsert(drizzle: BetterSQLite3Database) {
  const { scope, field, key, expiresAt } = idempotencyRecords;
  const { leaseUntil, fencingToken, ...columns } = getTableColumns(idempotencyRecords);
  const names = Object.keys(columns) as (keyof typeof columns)[]; // `as`: an object's own names
  const values = Object.fromEntries(names.map((name) => [name, sql.placeholder(name)]));
  const excluded = Object.fromEntries(names.map((name) => [name, sql.raw(`excluded.${columns[name].name}`)]));
  return drizzle
    .insert(idempotencyRecords)
    .values(values as Record<keyof typeof columns, Placeholder>) // `as`: one for each name
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
