import type { EmptyDatabase } from "./entries-database.ts";

type Queried = Pick<EmptyDatabase, "query">;

/** Waits until so many calls on this database wait for the lock of a key. */
export async function untilWaiting({ query }: Queried, count: number): Promise<void> {
  while ((await query(waitsOf(0))).length !== count);
}

/** What comes first: that a promise settles, or that a call on this database waits for the lock of a key for that long. */
export async function settlesOrWaits(
  { query }: Queried,
  promise: Promise<unknown>,
  waitMs = 0,
): Promise<"settles" | "waits"> {
  let isSettled = false;
  const settle = () => {
    isSettled = true;
  };
  promise.then(settle, settle);
  while (!isSettled) {
    if ((await query(waitsOf(waitMs))).length > 0) return "waits";
  }
  return "settles";
}

function waitsOf(waitMs: number): string {
  return `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    AND wait_event = 'advisory' AND clock_timestamp() - query_start >= interval '${waitMs} ms'`;
}
