import { withTimeout } from "../with-timeout.ts";
import type { Driver } from "./drivers/driver.ts";
import { asStoreError, noConnection } from "./faults.ts";

/** How many records one statement deletes at most, so that locks are short and a standby keeps up with the log. */
const maxBatchSize = 1_000;

/**
 * Deletes expired records from the table or one of its partitions, and returns their number. Several processes
 * that purge at once share the work, since each skips the rows that another deletes.
 *
 * Rows are named by their key, not by ctid: a ctid is unique within one partition only, and not every database
 * with PostgreSQL's protocol has it.
 */
export async function purgeExpired(
  driver: Pick<Driver<never>, "query">,
  now: () => number,
  deadlineMs: number,
  table = "idempotency_records",
): Promise<number> {
  for (let total = 0; ; ) {
    const text = `DELETE FROM ${table} WHERE (key, field, scope) IN (
  SELECT key, field, scope FROM ${table} WHERE expires_at <= ${now()} LIMIT ${maxBatchSize} FOR UPDATE SKIP LOCKED
) RETURNING 1`;
    const deletion = driver.query({ text });
    const deleted = await withTimeout(deletion, deadlineMs, noConnection).catch((error: unknown) => {
      throw asStoreError(error);
    });
    total += deleted.length;
    if (deleted.length < maxBatchSize) return total;
  }
}
