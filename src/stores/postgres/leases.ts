import { unavailable } from "../../errors.ts";
import { blockingClaim, newClaimRow } from "../row.ts";
import type { Claim, ClaimRequest, Lease, LeaseChange, Leases, RecordIdentity } from "../store.ts";
import { hasLock, LockHeld, tryLock, waitForLock } from "./key-lock.ts";
import { type RowStatements, rowOf } from "./rows.ts";
import { closingOfReplay } from "./standby.ts";
import type { Row } from "./table.ts";
import { nothingMore, type Transactions } from "./transactions.ts";

/**
 * Leases in the table of records. A claim is a row with `lease_until`; its payload holds the finished steps.
 * The call's end turns the row into the record. Whoever writes a row has the lock of its key.
 */
export function postgresLeases<Tx extends Parameters<typeof waitForLock>[0]>(
  transactions: Transactions<Tx>,
  statements: RowStatements,
  now: () => number,
): Leases<Tx> {
  const { deadlineMs } = transactions;
  const wait = { waitMs: deadlineMs, deadlineMs };

  function claim(identity: RecordIdentity, request: ClaimRequest): Promise<Claim> {
    const select = statements.select(identity);
    return refusingWhatIsLocked(
      transactions.run<Claim>({
        opening: `${tryLock(identity)}; ${select}`,
        async work(tx, [locked = [], selected = []]) {
          const seen = blockingClaim(rowOf(selected), request, now());
          if (!hasLock(locked) && seen) return nothingMore(seen, closingOfReplay(locked));
          const row = rowOf(hasLock(locked) ? selected : await waitForLock(tx, identity, select, wait));
          const holder = blockingClaim(row, request, now());
          if (holder) return nothingMore(holder, closingOfReplay(locked));
          const claimed = newClaimRow(identity, request, row, now());
          const lease: Lease = { identity, fencingToken: claimed.fencingToken };
          return {
            result: { kind: "claimed", lease, steps: JSON.parse(claimed.payload) },
            closing: statements.put(claimed),
            undo: false,
          };
        },
      }),
    );
  }

  function change(
    { identity, fencingToken }: Lease,
    work: (transaction: Tx) => LeaseChange | Promise<LeaseChange>,
  ): Promise<boolean> {
    // For update, so that no purge removes it meanwhile.
    const select = statements.selectForUpdate(identity);
    return refusingWhatIsLocked(
      transactions.run<boolean>({
        opening: `${tryLock(identity)}; ${select}`,
        async work(tx, [locked = [], selected = []], bounded) {
          const row = rowOf(hasLock(locked) ? selected : await waitForLock(tx, identity, select, wait));
          if (row?.fencingToken !== fencingToken || row.leaseUntil === null) return nothingMore(false);
          const changed = after(await bounded(() => work(tx)), row, now());
          return { result: true, closing: statements.put(changed), undo: false };
        },
      }),
    );
  }

  return { claim, change };
}

async function refusingWhatIsLocked<Result>(running: Promise<Result>): Promise<Result> {
  try {
    return await running;
  } catch (error) {
    if (!(error instanceof LockHeld)) throw error;
    throw unavailable("Another process has held the lock of this key for too long.", error);
  }
}

/** What a change makes of the row. */
function after(change: LeaseChange, row: Row, time: number): Row {
  switch (change.kind) {
    case "renew": {
      const leaseUntil = time + change.leaseMs;
      return { ...row, leaseUntil, expiresAt: Math.max(row.expiresAt, leaseUntil) };
    }
    case "step": {
      const steps = { ...JSON.parse(row.payload), [change.name]: change.payload };
      return { ...row, payload: JSON.stringify(steps) };
    }
    case "finish":
      return { ...row, ...change.record, leaseUntil: null };
    case "release":
      return { ...row, leaseUntil: time };
  }
}
