import { setImmediate as nextTurn } from "node:timers/promises";
import { and, eq, getTableColumns, gt, isNull, sql } from "drizzle-orm";
import type { RecordIdentity, StoredRecord } from "../store.ts";
import { withTimeout } from "../with-timeout.ts";
import type { AnyDatabase } from "./drivers/driver.ts";
import { asFaultOfStore, noConnection } from "./faults.ts";
import { hasStandby, mark } from "./standby.ts";
import { refuseNul } from "./statement.ts";
import { idempotencyRecords } from "./table.ts";
import { nothingMore, type Transactions } from "./transactions.ts";

interface Wanted {
  readonly identity: RecordIdentity;
  readonly resolve: (record: StoredRecord | undefined) => void;
  readonly reject: (error: unknown) => void;
}

type Found = Awaited<ReturnType<ReturnType<typeof prepareLookUp>["execute"]>>;

/** Most look-ups that share one query. */
const mostAtOnce = 500;

/**
 * Looks records up, outside of any transaction. Look-ups that come while one is under way share the next query:
 * what a query costs is its round trip, so a busy server pays a small part of one for each call.
 */
export class LookUp<Tx extends AnyDatabase> {
  readonly #prepared: ReturnType<typeof prepareLookUp>;
  readonly #transactions: Transactions<Tx>;
  readonly #now: () => number;
  #waiting: Wanted[] = [];
  #isRunning = false;

  constructor(db: AnyDatabase, transactions: Transactions<Tx>, now: () => number) {
    this.#prepared = prepareLookUp(db);
    this.#transactions = transactions;
    this.#now = now;
  }

  find(identity: RecordIdentity): Promise<StoredRecord | undefined> {
    return new Promise((resolve, reject) => {
      refuseNul(identity.scope); // it would fail the query that others share
      this.#waiting.push({ identity, resolve, reject });
      if (!this.#isRunning) void this.#run();
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // Calls that arrive in the same turn of the event loop share the query.
    await nextTurn();
    while (this.#waiting.length > 0) await this.#answer(this.#waiting.splice(0, mostAtOnce));
    this.#isRunning = false;
  }

  async #answer(batch: readonly Wanted[]): Promise<void> {
    try {
      const looking = this.#prepared.execute(this.#valuesFor(batch));
      const found = await withTimeout(looking, this.#transactions.deadlineMs, noConnection);
      if (!found.some(({ hasStandby }) => hasStandby)) {
        settle(batch, found);
        return;
      }
      const hits = new Set(found.map(({ position }) => position));
      void this.#answerInTransaction(batch.filter((_, index) => hits.has(index + 1))); // nobody else waits for it
      const misses = batch.filter((_, index) => !hits.has(index + 1));
      settle(misses, []);
    } catch (error) {
      refuse(batch, error);
    }
  }

  /** See {@link hasStandby}. What has been read is waited for where it was read: elsewhere may be another primary. */
  async #answerInTransaction(batch: readonly Wanted[]): Promise<void> {
    try {
      const found = await this.#transactions.run<Found>({
        work: async (tx, _opened, bounded) =>
          nothingMore(await bounded(() => prepareLookUp(tx).execute(this.#valuesFor(batch))), mark),
      });
      settle(batch, found);
    } catch (error) {
      refuse(batch, error);
    }
  }

  #valuesFor(batch: readonly Wanted[]): { readonly asked: string; readonly now: number } {
    const asked = batch.map(({ identity: { key, field, scope } }) => [key, field, scope]);
    return { asked: JSON.stringify(asked), now: this.#now() };
  }
}

function settle(batch: readonly Wanted[], found: Found): void {
  const records = new Map<number, StoredRecord>();
  for (const { position, hasStandby, ...record } of found) records.set(position, record);
  for (const [index, { resolve }] of batch.entries()) resolve(records.get(index + 1));
}

function refuse(batch: readonly Wanted[], error: unknown): void {
  const storeError = asFaultOfStore(error);
  for (const { reject } of batch) reject(storeError);
}

/**
 * One text has all that is asked for, since the drivers write arrays each in its own way. Lateral and limited,
 * it is answered by one step into the index for each key; as a join, PostgreSQL would rather read a small table
 * as a whole.
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
