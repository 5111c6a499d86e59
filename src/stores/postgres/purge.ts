import { lte, sql } from "drizzle-orm";
import { withTimeout } from "../with-timeout.ts";
import type { AnyDatabase } from "./drivers/driver.ts";
import { asFaultOfStore, noConnection } from "./faults.ts";
import { idempotencyRecords, recordsTable } from "./table.ts";

/** Most records that one step of a purge deletes: locks and log in small pieces, which a standby keeps up with. */
const chunk = 1_000;

/**
 * Deletes what has expired, from the table or from one partition of it, and tells how many that was. Several
 * processes at it share the work, since none waits for what another deletes.
 *
 * By the key, not by ctid: that names a row only within one partition, and is not known to all that speak
 * PostgreSQL's protocol.
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
      .limit(chunk)
      .for("update", { skipLocked: true });
    const deletion = db
      .delete(table)
      .where(sql`(${key}, ${field}, ${scope}) IN ${expired}`)
      .returning({ expiresAt })
      .execute();
    const deleted = await withTimeout(deletion, deadlineMs, noConnection).catch((error: unknown) => {
      throw asFaultOfStore(error);
    });
    total += deleted.length;
    if (deleted.length < chunk) return total;
  }
}
