import { createHash } from "node:crypto";
import { sql } from "drizzle-orm";
import type { RecordIdentity } from "../store.ts";
import { type RawRows, rowsOf } from "./drivers/driver.ts";
import { isLockTimeout } from "./faults.ts";
import { hasStandby } from "./standby.ts";

/** The part of a Drizzle transaction that the lock needs. */
interface Executor {
  execute(query: ReturnType<typeof sql.raw>): Promise<unknown>;
}

/**
 * The lock that holds calls with one identity apart, over all processes: an advisory lock, until the end of
 * the transaction.
 *
 * The other design, to insert an unfinished record first (ON CONFLICT makes a duplicate wait for it) and to
 * complete it at the end, makes as many round trips. But it writes the record twice, in the log and in every
 * index; each call leaves a dead row behind, which is autovacuum's work; and a duplicate can't be refused at once
 * (`concurrent: REJECT`), since it waits inside of its INSERT. Side by side (`npm run bench`), PostgreSQL spends 5 %
 * more CPU on a call with it, and the API less; on two cores that all share, it was as fast (1.06, 0.90–4.95).
 */
export function tryLock(identity: RecordIdentity): string {
  return `SELECT pg_try_advisory_xact_lock(${numberOf(identity)}) AS locked, ${hasStandby} AS has_standby`;
}

/** Whether {@link tryLock} got it. */
export function hasLock(results: RawRows): boolean {
  return results[0]?.locked === true;
}

/** The lock was held for longer than a call would wait. */
export class LockHeld extends Error {}

/**
 * Waits for the lock, and then runs `select`: a statement of its own, whose snapshot has what the other call
 * has committed.
 *
 * @throws {LockHeld} after `waitMs`
 */
export async function waitForLock(
  tx: Executor,
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
    return rowsOf(await tx.execute(sql.raw(text))).at(-1) ?? [];
  } catch (error) {
    throw isLockTimeout(error) ? new LockHeld() : error;
  }
}

/** 64 bits of a hash: that two identities meet is next to impossible, and they would only wait for each other. */
function numberOf({ scope, field, key }: RecordIdentity): bigint {
  return createHash("sha256").update(`${field}\0${key}\0${scope}`).digest().readBigInt64BE();
}
