import { blockingClaim, changedRow, claimed, isOwned, newClaimRow } from "../row.ts";
import type { Claim, ClaimRequest, Lease, LeaseChange, Leases, RecordIdentity } from "../store.ts";
import type { Rows } from "./rows.ts";
import type { Writer } from "./writer.ts";

/** Leases in the table of records: see `row.ts` for the states of a claim. */
export function sqliteLeases<Transaction>(
  writer: Writer<Transaction>,
  rows: Rows,
  now: () => number,
): Leases<Transaction> {
  function claim(identity: RecordIdentity, request: ClaimRequest): Promise<Claim> {
    return writer.run("lease", (): Claim => {
      const time = now();
      const row = rows.read(identity);
      const blocking = blockingClaim(row, request, time);
      if (blocking) return blocking;
      const claim = newClaimRow(identity, request, row, time);
      rows.put(claim);
      return claimed(claim);
    });
  }

  function change(
    lease: Lease,
    work: (transaction: Transaction) => LeaseChange | Promise<LeaseChange>,
  ): Promise<boolean> {
    return writer.run(
      lease.identity.field,
      async (transaction) => {
        // The writer runs one transaction at a time, so the row stays the same until `finish`.
        const row = rows.read(lease.identity);
        return isOwned(row, lease) && { row, change: await work(transaction) };
      },
      (owned) => {
        if (owned) rows.put(changedRow(owned.row, owned.change, now()));
        return owned !== false;
      },
    );
  }

  return { claim, change };
}
