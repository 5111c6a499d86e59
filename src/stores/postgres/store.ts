import type { ExtractTablesWithRelations } from "drizzle-orm";
import type { NodePgTransaction } from "drizzle-orm/node-postgres/session";
import type { PgQueryResultHKT, PgTransaction } from "drizzle-orm/pg-core";
import type { PostgresJsTransaction } from "drizzle-orm/postgres-js/session";
import { timeOfKey } from "../../core/key.ts";
import { checkOption, checkOptions, checkPositive, isFunction } from "../../options.ts";
import { isPurgePeriod, purgePeriod, purgeRegularly } from "../purge.ts";
import type {
  RecordIdentity,
  Running,
  Store,
  StoredRecord,
  TransactionOutcome,
  WaitOptions,
} from "../store.ts";
import {
  type Database,
  driverOf,
  type NodePostgresDatabase,
  type PostgresJsDatabase,
  type Schema,
} from "./drivers/driver.ts";
import { hasLock, LockHeld, tryLock, waitForLock } from "./key-lock.ts";
import { postgresLeases } from "./leases.ts";
import { LookUp } from "./look-up.ts";
import { isPartitionPeriod, partitionPeriod, partitionPurge } from "./partitions.ts";
import { purgeExpired } from "./purge.ts";
import { rowOf, rowStatements } from "./rows.ts";
import { closingOfReplay } from "./standby.ts";
import type { Row } from "./table.ts";
import { nothingMore, type TransactionOptions, Transactions } from "./transactions.ts";

export interface PostgresStoreOptions extends TransactionOptions {
  /** The clock of records: milliseconds since the epoch. @default Date.now */
  readonly now?: () => number;
  /** How often expired records are looked for, in milliseconds; 0 for never. @default 10_000 */
  readonly purgeEveryMs?: number;
  /**
   * How much time of keys one partition holds, in milliseconds, for a table that `partitionRecords` has
   * partitioned: the purge makes partitions ahead and drops those that are over. A tenth of the usual retention
   * is a good measure. @default none: a plain table
   */
  readonly partitionMs?: number;
}

/**
 * Keeps records in a PostgreSQL database, in one transaction with what resolvers write through `tx`, which is
 * the one of Drizzle's own `db.transaction()`.
 *
 * Any number of processes may share the database. Transactions are READ COMMITTED, whatever the default; one
 * that PostgreSQL refuses by a deadlock or a serialization failure is run again, with its resolver.
 *
 * An acknowledged call is as durable as PostgreSQL was told to make it: keep `synchronous_commit` on, and have
 * a synchronous standby if a failover must lose nothing. With one, first calls and replays alike are answered
 * when it has them, and refused at the deadline while it is away.
 *
 * Don't cancel a COMMIT that waits for the standby (`pg_cancel_backend`): PostgreSQL then reports success, with a
 * warning. Over node-postgres the call is refused nevertheless; postgres.js keeps warnings to itself.
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
  checkOptions("postgresStore", options, ["now", "purgeEveryMs", "deadlineMs", "partitionMs"]);
  checkOption("postgresStore", options, "now", "a function", isFunction);
  checkOption("postgresStore", options, "purgeEveryMs", purgePeriod, isPurgePeriod);
  checkOption("postgresStore", options, "partitionMs", partitionPeriod, isPartitionPeriod);
  checkPositive("postgresStore", { deadlineMs: options.deadlineMs });
  const { now = Date.now, purgeEveryMs = 10_000, partitionMs } = options;
  const transactions = new Transactions<Tx>(driverOf(db), options);
  const { deadlineMs } = transactions;
  const statements = rowStatements(db);
  const lookUp = new LookUp(db, transactions, now);

  async function find(identity: RecordIdentity): Promise<StoredRecord | undefined> {
    return isJustMade(identity.key, now()) ? undefined : lookUp.find(identity);
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
        async work(tx, [locked = [], selected = []], bounded) {
          let row = rowOf(selected);
          if (!hasLock(locked) && !isRecord(row, now())) {
            if (waitMs === 0) throw new LockHeld();
            row = rowOf(await waitForLock(tx, identity, select, { waitMs, deadlineMs }));
          }
          if (isClaim(row, now())) throw new LockHeld();
          const verdict = await bounded(() => work(tx, isRecord(row, now()) ? row : undefined));
          if (verdict.kind === "found") return nothingMore(verdict, closingOfReplay(locked));
          return { result: verdict, closing: keep(verdict.record, row), undo: verdict.kind === "discard" };
        },
      });
    } catch (error) {
      if (error instanceof LockHeld) return { kind: "running" };
      throw error;
    }
  }

  /** The lock has kept other calls from the row that was seen, if there was one: it has expired. */
  function keep(record: StoredRecord, expired: Row | undefined): string {
    const row: Row = { ...record, leaseUntil: null, fencingToken: null };
    return `${expired ? `${statements.deleteExpired(row)}; ` : ""}${statements.insert(row)}`;
  }

  function write<Result>(work: (tx: Tx) => Result | Promise<Result>): Promise<Result> {
    return transactions.run<Result>({
      work: async (tx, _opened, bounded) => nothingMore(await bounded(() => work(tx))),
    });
  }

  const purge = partitionMs
    ? partitionPurge(db, { partitionMs, now, deadlineMs })
    : () => purgeExpired(db, now, deadlineMs);
  if (purgeEveryMs > 0) purgeRegularly(purge, purgeEveryMs);
  const leases = postgresLeases(transactions, statements, now);
  return { now, find, transaction, write, purge, leases };
}

/**
 * A key that tells its age (UUIDv7) and was made within the last second is hardly a retry's: to look for its
 * record would be a round trip for nothing. If it is there, the transaction finds it.
 */
function isJustMade(key: string, time: number): boolean {
  // A key from a header has the field's name behind it.
  const age = time - (timeOfKey(key.slice(0, 36)) ?? 0);
  return age >= 0 && age < 1_000;
}

/** A row that is a live record. */
function isRecord(row: Row | undefined, time: number): row is Row {
  return row !== undefined && row.leaseUntil === null && row.expiresAt > time;
}

/** A row that a call with `effects: EXTERNAL` has claimed. */
function isClaim(row: Row | undefined, time: number): boolean {
  return row !== undefined && row.leaseUntil !== null && row.expiresAt > time;
}
