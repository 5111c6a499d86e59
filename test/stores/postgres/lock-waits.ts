import type { EmptyDatabase } from "./entries-database.ts";

type Queried = Pick<EmptyDatabase, "query">;

interface LockWait {
  /** An advisory lock is that of a key; a relation's is that of a table. @default "advisory" */
  readonly of?: "advisory" | "relation";
  /** How long the wait must have lasted, in milliseconds. @default 0 */
  readonly forMs?: number;
}

/** Waits until so many calls on this database wait for the lock of a key. */
export async function untilWaiting({ query }: Queried, count: number): Promise<void> {
  while ((await query(waits({}))).length !== count);
}

/** What comes first: that a promise settles, or that somebody on this database waits for a lock. */
export async function settlesOrWaits(
  { query }: Queried,
  promise: Promise<unknown>,
  wait: LockWait = {},
): Promise<"settles" | "waits"> {
  let isSettled = false;
  const settle = () => {
    isSettled = true;
  };
  promise.then(settle, settle);
  while (!isSettled) {
    if ((await query(waits(wait))).length > 0) return "waits";
  }
  return "settles";
}

function waits({ of = "advisory", forMs = 0 }: LockWait): string {
  return `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    AND wait_event = '${of}' AND clock_timestamp() - query_start >= interval '${forMs} ms'`;
}
