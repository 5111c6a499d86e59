import { unavailable } from "../../errors.ts";
import { blockingClaim, changedRow, claimed, isOwned, newClaimRow } from "../row.ts";
import type { Claim, ClaimRequest, Lease, LeaseChange, Leases, RecordIdentity } from "../store.ts";
import { hasLock, LockHeld, tryLock, waitForLock } from "./key-lock.ts";
import { type RowStatements, rowOf } from "./rows.ts";
import { replayBarrier } from "./standby.ts";
import { type Transactions, withoutRecord } from "./transactions.ts";

/** Leases in the table of records: see `Row`. Every write of a row happens under the lock of its key. */
export function postgresLeases<Tx>(
  transactions: Transactions<Tx>,
  statements: RowStatements,
  now: () => number,
): Leases<Tx> {
  const { deadlineMs } = transactions;
  const wait = { waitMs: deadlineMs, deadlineMs };

  function claim(identity: RecordIdentity, request: ClaimRequest): Promise<Claim> {
    const select = statements.select(identity);
    return unavailableWhileLocked(
      transactions.run<Claim>({
        opening: `${tryLock(identity)}; ${select}`,
        async work(_tx, { opened: [locked = [], selected = []], query }) {
          const seen = blockingClaim(rowOf(selected), request, now());
          if (!hasLock(locked) && seen) return withoutRecord(seen, replayBarrier(locked));
          const row = rowOf(hasLock(locked) ? selected : await waitForLock(query, identity, select, wait));
          const blocking = blockingClaim(row, request, now());
          if (blocking) return withoutRecord(blocking, replayBarrier(locked));
          const claim = newClaimRow(identity, request, row, now());
          return { result: claimed(claim), closing: statements.put(claim), undo: false };
        },
      }),
    );
  }

  function change(
    lease: Lease,
    work: (transaction: Tx) => LeaseChange | Promise<LeaseChange>,
  ): Promise<boolean> {
    const { identity } = lease;
    // For update, so that no purge deletes the row during the work.
    const select = statements.selectForUpdate(identity);
    return unavailableWhileLocked(
      transactions.run<boolean>({
        opening: `${tryLock(identity)}; ${select}`,
        async work(tx, { opened: [locked = [], selected = []], query, runWork }) {
          const row = rowOf(hasLock(locked) ? selected : await waitForLock(query, identity, select, wait));
          if (!isOwned(row, lease)) return withoutRecord(false);
          const changed = changedRow(row, await runWork(() => work(tx)), now());
          return { result: true, closing: statements.put(changed), undo: false };
        },
      }),
    );
  }

  return { claim, change };
}

async function unavailableWhileLocked<Result>(running: Promise<Result>): Promise<Result> {
  try {
    return await running;
  } catch (error) {
    if (!(error instanceof LockHeld)) throw error;
    throw unavailable("Another process has held the lock of this key for too long.", error);
  }
}
