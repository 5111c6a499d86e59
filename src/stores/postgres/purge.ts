import { lte, sql } from "drizzle-orm";
import { withTimeout } from "../with-timeout.ts";
import type { AnyDatabase } from "./database.ts";
import { asStoreError, noConnection } from "./faults.ts";
import { idempotencyRecords, recordsTable } from "./table.ts";

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
  db: AnyDatabase,
  now: () => number,
  deadlineMs: number,
  tableName?: string,
): Promise<number> {
  const table = tableName === undefined ? idempotencyRecords : recordsTable(tableName);
  const { key, field, scope, expiresAt } = table;
  for (let total = 0; ; ) {
    const expired = db
      .select({ key, field, scope })
      .from(table)
      .where(lte(expiresAt, now()))
      .limit(maxBatchSize)
      .for("update", { skipLocked: true });
    const deletion = db
      .delete(table)
      .where(sql`(${key}, ${field}, ${scope}) IN ${expired}`)
      .returning({ expiresAt })
      .execute();
    const deleted = await withTimeout(deletion, deadlineMs, noConnection).catch((error: unknown) => {
      throw asStoreError(error);
    });
    total += deleted.length;
    if (deleted.length < maxBatchSize) return total;
  }
}
