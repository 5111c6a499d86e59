import { createHash } from "node:crypto";
import type { RecordIdentity } from "../store.ts";
import type { Query, RawRows } from "./drivers/driver.ts";
import { booleanAt } from "./drivers/results.ts";
import { isLockTimeout } from "./faults.ts";
import { hasStandby } from "./standby.ts";

/**
 * The statement that tries to take the lock of a key: an advisory lock, held until the transaction ends. It
 * separates calls with one identity across all processes.
 *
 * Rejected: to insert an unfinished record first (ON CONFLICT makes a duplicate wait for it) and to complete it
 * at the end. That takes as many round trips, but writes the record twice, to the log and to every index. Each
 * call leaves a dead row for autovacuum. And a duplicate can't be refused at once (`concurrent: REJECT`), since
 * it waits inside its INSERT. Measured side by side (`npm run bench`), a call costs PostgreSQL 5 % more CPU and
 * the API less; with both on the same two cores, the speed was the same (ratio 1.06, 0.90–4.95).
 */
export function tryLock(identity: RecordIdentity): string {
  return `SELECT pg_try_advisory_xact_lock(${numberOf(identity)})::text, (${hasStandby})::text`;
}

/** Whether {@link tryLock} took the lock. */
export function hasLock([row]: RawRows): boolean {
  return booleanAt(row ?? [], 0);
}

/** Another transaction held the lock for longer than this call was to wait. */
export class LockHeld extends Error {}

/**
 * Waits for the lock, and then runs `select` as a statement of its own, so that its snapshot includes what the
 * other call has committed.
 *
 * @throws {LockHeld} after `waitMs`
 */
export async function waitForLock(
  query: Query,
  identity: RecordIdentity,
  select: string,
  { waitMs, deadlineMs }: { readonly waitMs: number; readonly deadlineMs: number },
): Promise<RawRows> {
  const text = [
    "SET LOCAL statement_timeout = 0",
    `SET LOCAL lock_timeout = ${Math.ceil(waitMs)}`,
    `SELECT pg_advisory_xact_lock(${numberOf(identity)})`,
    "SET LOCAL lock_timeout TO DEFAULT",
    `SET LOCAL statement_timeout = ${deadlineMs}`,
    select,
  ].join("; ");
  try {
    return (await query(text)).at(-1) ?? [];
  } catch (error) {
    throw isLockTimeout(error) ? new LockHeld() : error;
  }
}

/** 64 bits of a hash. A collision is next to impossible, and would only make two calls wait for each other. */
function numberOf({ scope, field, key }: RecordIdentity): bigint {
  return createHash("sha256").update(`${field}\0${key}\0${scope}`).digest().readBigInt64BE();
}
