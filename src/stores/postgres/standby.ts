import type { RawRows } from "./drivers/driver.ts";
import { booleanAt } from "./drivers/results.ts";

/**
 * A replay must not acknowledge a record that a failover could lose. The primary shows such records: a commit
 * that waits for the synchronous standby has been written, and becomes visible when its wait is cancelled, its
 * connection is terminated, or the server restarts (postgresql.org/docs/current/warm-standby.html, "Planning
 * for High Availability"). So where there is a synchronous standby, a replay ends as a first call does: with a
 * commit that waits for it.
 */
export const hasStandby = "current_setting('synchronous_standby_names', true) <> ''";

/**
 * Writes to the log and to no table. Only a transaction that has written something waits for the standby, and its
 * commit follows everything that it has read.
 */
export const walMarker = "SELECT pg_logical_emit_message(true, 'idempotent replay', '')";

/**
 * What to send with the COMMIT of a replay, so that it waits for the synchronous standby, if there is one.
 *
 * @param rows the result of a statement that selects {@link hasStandby} as the second column
 */
export function replayBarrier([row]: RawRows): string {
  return booleanAt(row ?? [], 1) ? walMarker : "";
}
