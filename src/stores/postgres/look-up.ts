import { setImmediate as nextTurn } from "node:timers/promises";
import { liveRecord } from "../row.ts";
import type { RecordIdentity, StoredRecord } from "../store.ts";
import { withTimeout } from "../with-timeout.ts";
import type { Driver, RawRows } from "./drivers/driver.ts";
import { booleanAt, numberAt } from "./drivers/results.ts";
import { asStoreError, noConnection } from "./faults.ts";
import { columnNames, readRow } from "./rows.ts";
import { hasStandby, walMarker } from "./standby.ts";
import { literal, refuseNul } from "./statement-text.ts";
import { type Transactions, withoutRecord } from "./transactions.ts";

interface PendingLookUp {
  readonly identity: RecordIdentity;
  readonly resolve: (record: StoredRecord | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** How many look-ups share one query at most. */
const maxBatchSize = 500;

/**
 * Looks up records outside any transaction. Look-ups that arrive while a query is running share the next one.
 * The cost of a query is its round trip, so each call on a busy server pays a small part of one.
 */
export class LookUp<Tx> {
  readonly #driver: Driver<Tx>;
  readonly #transactions: Transactions<Tx>;
  readonly #now: () => number;
  #pending: PendingLookUp[] = [];
  #isRunning = false;

  constructor(driver: Driver<Tx>, transactions: Transactions<Tx>, now: () => number) {
    this.#driver = driver;
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
      const text = lookUpText("$1");
      const parameter = this.#asked(batch);
      const looking = this.#driver.query({ text, parameter, name: "idempotent_look_up" });
      const found = await withTimeout(looking, this.#transactions.deadlineMs, noConnection);
      if (!found.some((row) => booleanAt(row, 1))) {
        this.#resolveAll(batch, found);
        return;
      }
      const hits = new Set(found.map((row) => numberAt(row, 0)));
      void this.#answerInTransaction(batch.filter((_, index) => hits.has(index + 1))); // misses don't wait for it
      const misses = batch.filter((_, index) => !hits.has(index + 1));
      this.#resolveAll(misses, []);
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
      const text = lookUpText(literal(this.#asked(batch)));
      const found = await this.#transactions.run<RawRows>({
        work: async (_tx, { query }) => {
          const [rows = []] = await withTimeout(query(text), this.#transactions.deadlineMs, noConnection);
          return withoutRecord(rows, walMarker);
        },
      });
      this.#resolveAll(batch, found);
    } catch (error) {
      rejectAll(batch, error);
    }
  }

  #asked(batch: readonly PendingLookUp[]): string {
    const time = this.#now();
    return JSON.stringify(batch.map(({ identity: { key, field, scope } }) => [key, field, scope, time]));
  }

  #resolveAll(batch: readonly PendingLookUp[], found: RawRows): void {
    const records = new Map<number, StoredRecord>();
    for (const values of found) {
      const record = liveRecord(readRow(values.slice(2)), this.#now());
      if (record) records.set(numberAt(values, 0), record);
    }
    for (const [index, { resolve }] of batch.entries()) resolve(records.get(index + 1));
  }
}

function rejectAll(batch: readonly PendingLookUp[], error: unknown): void {
  const storeError = asStoreError(error);
  for (const { reject } of batch) reject(storeError);
}

/**
 * The query for live records (`liveRecord` in row.ts), so that other rows are not sent at all. All identities are
 * one text, since each driver writes arrays in its own way. Because it is lateral and limited, each identity takes
 * one descent of the index; for a plain join, PostgreSQL would read the whole of a small table.
 *
 * Its columns are texts, so that also a driver that asks for binary values gets them in one form.
 *
 * @param asked the SQL of a JSON text: an array of key, field, scope and time for each look-up
 */
function lookUpText(asked: string): string {
  const values = columnNames.map((name) => `record.${name}::text`).join(", ");
  return `SELECT asked.position::text, (${hasStandby})::text, ${values}
FROM json_array_elements(${asked}::text::json) WITH ORDINALITY AS asked(identity, position)
CROSS JOIN LATERAL (
  SELECT * FROM idempotency_records
  WHERE key = identity->>0 AND field = identity->>1 AND scope = identity->>2
    AND expires_at > (identity->>3)::bigint AND lease_until IS NULL
  LIMIT 1
) AS record`;
}
