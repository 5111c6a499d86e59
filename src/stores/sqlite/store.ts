import type Sqlite from "better-sqlite3";
import { inArray, lte, sql } from "drizzle-orm";
import { type BetterSQLite3Database, drizzle } from "drizzle-orm/better-sqlite3";
import { checkOption, checkOptions, isFunction } from "../../options.ts";
import { isPurgePeriod, purgePeriod, purgeRegularly } from "../purge.ts";
import { isClaimed, liveRecord, type Row, recordRow } from "../row.ts";
import type { RecordIdentity, Running, Store, StoredRecord, TransactionOutcome } from "../store.ts";
import { type Database, internalsOf } from "./database.ts";
import { sqliteLeases } from "./leases.ts";
import { LookUp } from "./look-up.ts";
import { rowReader, rowsOf } from "./rows.ts";
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
  const rows = rowsOf(connections.writing);
  const lookUp = new LookUp({ inWriter: rows.read, apart: rowReader(connections.finding) }, connections, {
    now,
    checkFile: () => writer.checkFile(),
    closing,
  });
  const deleteExpired = prepareDeleteExpired(inWriter);

  function transaction(
    identity: RecordIdentity,
    work: (tx: Transaction<Tables>, found: StoredRecord | undefined) => Promise<TransactionOutcome>,
  ): Promise<TransactionOutcome | Running> {
    let row: Row | undefined;

    function begin(tx: Transaction<Tables>): Promise<TransactionOutcome> | Running {
      row = rows.read(identity);
      return isClaimed(row, now()) ? { kind: "running" } : work(tx, liveRecord(row, now()));
    }

    function finish(outcome: TransactionOutcome | Running, undo: () => void): TransactionOutcome | Running {
      if (outcome.kind === "discard") undo();
      if (outcome.kind === "keep" || outcome.kind === "discard") {
        // Without a row there, only an insert will do: it fails if the work itself has written one.
        if (row) rows.put(recordRow(outcome.record));
        else rows.insert(recordRow(outcome.record));
      }
      return outcome;
    }

    return writer.run<TransactionOutcome | Running>(identity.field, begin, finish);
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
  const leases = sqliteLeases(writer, rows, now);
  return {
    now,
    find: (identity) => lookUp.find(identity),
    transaction,
    write: (work) => writer.run("write", work),
    purge,
    refuseNesting: () => writer.refuseNesting(),
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

function prepareDeleteExpired(drizzle: BetterSQLite3Database) {
  const expired = drizzle
    .select({ rowid: sql`rowid` })
    .from(idempotencyRecords)
    .where(lte(idempotencyRecords.expiresAt, sql.placeholder("now")))
    .limit(purgeChunk);
  return drizzle.delete(idempotencyRecords).where(inArray(sql`rowid`, expired)).prepare();
}
