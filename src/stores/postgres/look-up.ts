import { setImmediate as nextTurn } from "node:timers/promises";
import { and, eq, getTableColumns, gt, isNull, sql } from "drizzle-orm";
import type { RecordIdentity, StoredRecord } from "../store.ts";
import { withTimeout } from "../with-timeout.ts";
import type { AnyDatabase } from "./database.ts";
import { asStoreError, noConnection } from "./faults.ts";
import { hasStandby, walMarker } from "./standby.ts";
import { refuseNul } from "./statement-text.ts";
import { idempotencyRecords } from "./table.ts";
import { type Transactions, withoutRecord } from "./transactions.ts";

interface PendingLookUp {
  readonly identity: RecordIdentity;
  readonly resolve: (record: StoredRecord | undefined) => void;
  readonly reject: (error: unknown) => void;
}

type Found = Awaited<ReturnType<ReturnType<typeof prepareLookUp>["execute"]>>;

/** How many look-ups share one query at most. */
const maxBatchSize = 500;

/**
 * Looks up records outside any transaction. Look-ups that arrive while a query is running share the next one.
 * The cost of a query is its round trip, so each call on a busy server pays a small part of one.
 */
export class LookUp<Tx extends AnyDatabase> {
  readonly #prepared: ReturnType<typeof prepareLookUp>;
  readonly #transactions: Transactions<Tx>;
  readonly #now: () => number;
  #pending: PendingLookUp[] = [];
  #isRunning = false;

  constructor(db: AnyDatabase, transactions: Transactions<Tx>, now: () => number) {
    this.#prepared = prepareLookUp(db);
    this.#transactions = transactions;
    this.#now = now;
  }

  find(identity: RecordIdentity): Promise<StoredRecord | undefined> {
    return new Promise((resolve, reject) => {
      refuseNul(identity.scope); // else the query of the whole batch would fail
      this.#pending.push({ identity, resolve, reject });
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // Calls of one turn of the event loop share the query.
    await nextTurn();
    while (this.#pending.length > 0) await this.#answer(this.#pending.splice(0, maxBatchSize));
    this.#isRunning = false;
  }

  async #answer(batch: readonly PendingLookUp[]): Promise<void> {
    try {
      const looking = this.#prepared.execute(this.#valuesFor(batch));
      const found = await withTimeout(looking, this.#transactions.deadlineMs, noConnection);
      if (!found.some(({ hasStandby }) => hasStandby)) {
        resolveAll(batch, found);
        return;
      }
      const hits = new Set(found.map(({ position }) => position));
      void this.#answerInTransaction(batch.filter((_, index) => hits.has(index + 1))); // misses don't wait for it
      const misses = batch.filter((_, index) => !hits.has(index + 1));
      resolveAll(misses, []);
    } catch (error) {
      rejectAll(batch, error);
    }
  }

  /**
   * Reads again, and waits until the standby has what was read: see {@link hasStandby}. Both happen on one
   * connection, since another may lead to another primary.
   */
  async #answerInTransaction(batch: readonly PendingLookUp[]): Promise<void> {
    try {
      const found = await this.#transactions.run<Found>({
        work: async (tx, _opened, bounded) =>
          withoutRecord(await bounded(() => prepareLookUp(tx).execute(this.#valuesFor(batch))), walMarker),
      });
      resolveAll(batch, found);
    } catch (error) {
      rejectAll(batch, error);
    }
  }

  #valuesFor(batch: readonly PendingLookUp[]): { readonly asked: string; readonly now: number } {
    const asked = batch.map(({ identity: { key, field, scope } }) => [key, field, scope]);
    return { asked: JSON.stringify(asked), now: this.#now() };
  }
}

function resolveAll(batch: readonly PendingLookUp[], found: Found): void {
  const records = new Map<number, StoredRecord>();
  for (const { position, hasStandby, ...record } of found) records.set(position, record);
  for (const [index, { resolve }] of batch.entries()) resolve(records.get(index + 1));
}

function rejectAll(batch: readonly PendingLookUp[], error: unknown): void {
  const storeError = asStoreError(error);
  for (const { reject } of batch) reject(storeError);
}

/**
 * The query for live records (`liveRecord` in row.ts), so that other rows are not sent at all. All identities are
 * one text, since each driver writes arrays in its own way. Because it is lateral and limited, each identity takes
 * one descent of the index; for a plain join, PostgreSQL would read the whole of a small table.
 */
function prepareLookUp(db: AnyDatabase) {
  const { leaseUntil, fencingToken, ...columns } = getTableColumns(idempotencyRecords);
  const { key, field, scope, expiresAt } = columns;
  const record = db
    .select(columns)
    .from(idempotencyRecords)
    .where(
      and(
        eq(key, sql`identity->>0`),
        eq(field, sql`identity->>1`),
        eq(scope, sql`identity->>2`),
        gt(expiresAt, sql.placeholder("now")),
        isNull(leaseUntil),
      ),
    )
    .limit(1)
    .as("record");
  const asked = sql`json_array_elements(${sql.placeholder("asked")}::text::json) WITH ORDINALITY AS asked(identity, position)`;
  return db
    .select({
      position: sql<number>`asked.position`.mapWith(Number),
      hasStandby: sql<boolean | null>`${sql.raw(hasStandby)}`.as("has_standby"),
      scope: record.scope,
      field: record.field,
      key: record.key,
      fingerprint: record.fingerprint,
      resourceId: record.resourceId,
      format: record.format,
      payload: record.payload,
      createdAt: record.createdAt,
      expiresAt: record.expiresAt,
    })
    .from(asked)
    .innerJoinLateral(record, sql`true`)
    .prepare("idempotent_look_up");
}
