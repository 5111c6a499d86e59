import type { ExtractTablesWithRelations } from "drizzle-orm";
import type { NodePgTransaction } from "drizzle-orm/node-postgres/session";
import type { PgQueryResultHKT, PgTransaction } from "drizzle-orm/pg-core";
import type { PostgresJsTransaction } from "drizzle-orm/postgres-js/session";
import { checkOption, checkOptions, checkPositive, isFunction } from "../../options.ts";
import { isPurgePeriod, purgePeriod, purgeRegularly } from "../purge.ts";
import { isClaimed, liveRecord, type Row, recordRow } from "../row.ts";
import type {
  RecordIdentity,
  Running,
  Store,
  StoredRecord,
  TransactionOutcome,
  WaitOptions,
} from "../store.ts";
import type { Database, NodePostgresDatabase, PostgresJsDatabase, Schema } from "./database.ts";
import { driverOf } from "./drivers/index.ts";
import { hasLock, LockHeld, tryLock, waitForLock } from "./key-lock.ts";
import { postgresLeases } from "./leases.ts";
import { LookUp } from "./look-up.ts";
import { isPartitionPeriod, PartitionPurge, partitionPeriod } from "./partition-purge.ts";
import { purgeExpired } from "./purge.ts";
import { rowOf, rowStatements } from "./rows.ts";
import { replayBarrier } from "./standby.ts";
import { type TransactionOptions, Transactions, withoutRecord } from "./transactions.ts";

export interface PostgresStoreOptions extends TransactionOptions {
  /** The clock of records: milliseconds since the epoch. @default Date.now */
  readonly now?: () => number;
  /** How often expired records are purged, in milliseconds; 0 for never. @default 10_000 */
  readonly purgeEveryMs?: number;
  /**
   * The time span of keys in one partition, in milliseconds, for a table that `partitionRecords` has
   * partitioned: the purge creates partitions ahead of time and drops those that are over. A tenth of the usual
   * retention is a good value. @default none: a plain table
   */
  readonly partitionMs?: number;
}

/**
 * Keeps records in a PostgreSQL database, in one transaction with the writes that resolvers make through `tx`,
 * the same handle as that of Drizzle's own `db.transaction()`.
 *
 * Any number of processes may share the database. Transactions are READ COMMITTED, whatever the default. A
 * transaction that PostgreSQL rejects because of a deadlock or a serialization failure is rolled back and refused
 * with IDEMPOTENCY_STORE_UNAVAILABLE, for the client to retry, or run again with its resolver: see `rerun`.
 *
 * Acknowledged calls are as durable as PostgreSQL is configured to make them: keep `synchronous_commit` on, and
 * use a synchronous standby if a failover must lose nothing. First calls and replays are then answered once the
 * standby has them, and refused at the deadline while it is away.
 *
 * Don't cancel a COMMIT that waits for the standby (`pg_cancel_backend`): PostgreSQL then reports success, with a
 * warning. Over node-postgres the call is refused all the same; postgres.js does not show the warning to the store.
 */
export function postgresStore<Tables extends Schema>(
  db: NodePostgresDatabase<Tables>,
  options?: PostgresStoreOptions,
): Store<NodePgTransaction<Tables, ExtractTablesWithRelations<Tables>>>;
export function postgresStore<Tables extends Schema>(
  db: PostgresJsDatabase<Tables>,
  options?: PostgresStoreOptions,
): Store<PostgresJsTransaction<Tables, ExtractTablesWithRelations<Tables>>>;
export function postgresStore<Tx extends PgTransaction<PgQueryResultHKT, Schema>>(
  db: Database<Schema>,
  options: PostgresStoreOptions = {},
): Store<Tx> {
  checkOptions("postgresStore", options, ["now", "purgeEveryMs", "deadlineMs", "partitionMs", "rerun"]);
  checkOption("postgresStore", options, "now", "a function", isFunction);
  checkOption("postgresStore", options, "purgeEveryMs", purgePeriod, isPurgePeriod);
  checkOption("postgresStore", options, "partitionMs", partitionPeriod, isPartitionPeriod);
  checkOption("postgresStore", options, "rerun", "true or false", (value) => typeof value === "boolean");
  checkPositive("postgresStore", { deadlineMs: options.deadlineMs });
  const { now = Date.now, purgeEveryMs = 10_000, partitionMs } = options;
  const driver = driverOf<Tx>(db);
  const transactions = new Transactions(driver, options);
  const { deadlineMs } = transactions;
  const statements = rowStatements(db);
  const lookUp = new LookUp(driver, transactions, now);

  async function find(identity: RecordIdentity, keyTime?: number): Promise<StoredRecord | undefined> {
    return isJustMade(keyTime, now()) ? undefined : lookUp.find(identity);
  }

  async function transaction(
    identity: RecordIdentity,
    work: (tx: Tx, found: StoredRecord | undefined) => Promise<TransactionOutcome>,
    { waitMs, mayDiscard }: WaitOptions,
  ): Promise<TransactionOutcome | Running> {
    const select = statements.select(identity);
    try {
      return await transactions.run<TransactionOutcome>({
        opening: `${tryLock(identity)}; ${select}`,
        mayUndo: mayDiscard,
        async work(tx, { opened: [locked = [], selected = []], query, runWork }) {
          let row = rowOf(selected);
          if (!hasLock(locked) && !liveRecord(row, now())) {
            if (waitMs === 0) throw new LockHeld();
            row = rowOf(await waitForLock(query, identity, select, { waitMs, deadlineMs }));
          }
          if (isClaimed(row, now())) throw new LockHeld();
          const outcome = await runWork(() => work(tx, liveRecord(row, now())));
          if (outcome.kind === "found") return withoutRecord(outcome, replayBarrier(locked));
          const closing = writeRecord(outcome.record, row);
          return { result: outcome, closing, undo: outcome.kind === "discard" };
        },
      });
    } catch (error) {
      if (error instanceof LockHeld) return { kind: "running" };
      throw error;
    }
  }

  /**
   * Inserts the record, after deleting the expired row that was found, if any. The insert fails if another call's
   * record has come first in spite of the lock.
   */
  function writeRecord(record: StoredRecord, expired: Row | undefined): string {
    const row = recordRow(record);
    return `${expired ? `${statements.deleteExpired(row)}; ` : ""}${statements.insert(row)}`;
  }

  function write<Result>(work: (tx: Tx) => Result | Promise<Result>): Promise<Result> {
    return transactions.run<Result>({
      work: async (tx, { runWork }) => withoutRecord(await runWork(() => work(tx))),
    });
  }

  const partitions = partitionMs ? new PartitionPurge(driver, { partitionMs, now, deadlineMs }) : undefined;
  const purge = () => (partitions ? partitions.run() : purgeExpired(driver, now, deadlineMs));
  if (purgeEveryMs > 0) purgeRegularly(purge, purgeEveryMs);
  const leases = postgresLeases(transactions, statements, now);
  return { now, find, transaction, write, purge, leases, mayRerun: options.rerun ?? false };
}

/**
 * A key that was made within the last second is hardly a retry's, so its look-up would be a wasted round trip. If
 * there is a record, the transaction finds it.
 */
function isJustMade(keyTime: number | undefined, time: number): boolean {
  if (keyTime === undefined) return false;
  const age = time - keyTime;
  return age >= 0 && age < 1_000;
}
