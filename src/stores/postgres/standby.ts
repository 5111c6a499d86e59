import type { RawRows } from "./drivers/driver.ts";

/**
 * What everybody reads on the primary, its synchronous standby may not have yet: a commit that waits for the
 * standby has been written, and becomes visible when its wait is cancelled, its connection terminated, or the
 * server started anew (postgresql.org/docs/current/warm-standby.html, "Planning for High Availability"). A
 * replay of such a record would acknowledge what a failover loses. So where there is a synchronous standby, a
 * replay ends as a first call does: with a commit that waits for it.
 */
export const hasStandby = "current_setting('synchronous_standby_names', true) <> ''";

/**
 * Only a transaction that has written something waits. This writes into the log and into no table; its commit
 * stands behind all that has been read before.
 */
export const mark = "SELECT pg_logical_emit_message(true, 'idempotent replay', '')";

/** What a transaction that replays is closed with, given the result of a statement that asked for {@link hasStandby}. */
export function closingOfReplay([row]: RawRows): string {
  return row?.has_standby === true ? mark : "";
}
