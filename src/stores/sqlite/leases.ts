import { and, eq, isNotNull, sql } from "drizzle-orm";
import type { BetterSQLite3Database } from "drizzle-orm/better-sqlite3";
import { blockingClaim, newClaimRow } from "../row.ts";
import type { Claim, ClaimRequest, Lease, LeaseChange, Leases, Payload, RecordIdentity } from "../store.ts";
import { idempotencyRecords } from "./table.ts";
import type { Writer } from "./writer.ts";

type Row = typeof idempotencyRecords.$inferSelect;

/**
 * Leases in the table of records. A claim is a row with `lease_until`; its payload holds the finished steps.
 * The call's end turns the row into the record.
 */
export function sqliteLeases<Transaction>(
  writer: Writer<Transaction>,
  inWriter: BetterSQLite3Database,
  now: () => number,
): Leases<Transaction> {
  function rowOf(identity: RecordIdentity): Row | undefined {
    return inWriter.select().from(idempotencyRecords).where(isRowOf(identity)).get();
  }

  function claim(identity: RecordIdentity, request: ClaimRequest): Promise<Claim> {
    return writer.run("lease", (): Claim => {
      const time = now();
      const row = rowOf(identity);
      const holder = blockingClaim(row, request, time);
      if (holder) return holder;
      const claimed = newClaimRow(identity, request, row, time);
      const { scope, field, key } = idempotencyRecords;
      inWriter
        .insert(idempotencyRecords)
        .values(claimed)
        .onConflictDoUpdate({ target: [scope, field, key], set: claimed })
        .run();
      const lease: Lease = { identity, fencingToken: claimed.fencingToken };
      return { kind: "claimed", lease, steps: JSON.parse(claimed.payload) };
    });
  }

  function change(
    lease: Lease,
    work: (transaction: Transaction) => LeaseChange | Promise<LeaseChange>,
  ): Promise<boolean> {
    const isOurs = and(
      isRowOf(lease.identity),
      eq(idempotencyRecords.fencingToken, lease.fencingToken),
      isNotNull(idempotencyRecords.leaseUntil),
    );
    const isHeld = () =>
      inWriter.select({ key: idempotencyRecords.key }).from(idempotencyRecords).where(isOurs).get() !==
      undefined;
    return writer.run(
      lease.identity.field,
      async (transaction) => isHeld() && (await work(transaction)),
      (change) => {
        if (change) inWriter.update(idempotencyRecords).set(columnsOf(change, now())).where(isOurs).run();
        return change !== false;
      },
    );
  }

  return { claim, change };
}

function isRowOf({ scope, field, key }: RecordIdentity) {
  return and(
    eq(idempotencyRecords.scope, scope),
    eq(idempotencyRecords.field, field),
    eq(idempotencyRecords.key, key),
  );
}

/** What a change means for the row. */
function columnsOf(change: LeaseChange, time: number) {
  switch (change.kind) {
    case "renew": {
      const leaseUntil = time + change.leaseMs;
      return { leaseUntil, expiresAt: sql`max(${idempotencyRecords.expiresAt}, ${leaseUntil})` };
    }
    case "step":
      return { payload: withStep(change.name, change.payload) };
    case "finish":
      return { ...change.record, leaseUntil: null };
    case "release":
      return { leaseUntil: time };
  }
}

function withStep(name: string, payload: Payload) {
  const steps = idempotencyRecords.payload;
  return sql`json_patch(${steps}, ${JSON.stringify({ [name]: payload })})`;
}
