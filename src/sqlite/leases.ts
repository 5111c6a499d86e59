import { and, eq, isNotNull, sql } from "drizzle-orm";
import type { BetterSQLite3Database } from "drizzle-orm/better-sqlite3";
import type { Claim, Lease, LeaseChange, Leases, Payload, RecordIdentity } from "../store.ts";
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

  function claim(
    identity: RecordIdentity,
    wish: { readonly fingerprint: string; readonly leaseMs: number; readonly retentionMs: number },
  ): Promise<Claim> {
    return writer.run("lease", (): Claim => {
      const time = now();
      const row = rowOf(identity);
      const live = row && row.expiresAt > time ? row : undefined;
      if (live && live.leaseUntil === null) return { kind: "found", record: live };
      if (live?.leaseUntil && (live.leaseUntil > time || live.fingerprint !== wish.fingerprint)) {
        return { kind: "held", fingerprint: live.fingerprint, leaseUntil: live.leaseUntil };
      }
      // Tokens begin at the time, so that they rise also over a row that was purged.
      const fencingToken = Math.max((row?.fencingToken ?? 0) + 1, time);
      const payload = live?.payload ?? "{}";
      const claimed: Row = {
        ...identity,
        fingerprint: wish.fingerprint,
        resourceId: null,
        format: "json",
        payload,
        createdAt: time,
        expiresAt: time + Math.max(wish.retentionMs, wish.leaseMs),
        leaseUntil: time + wish.leaseMs,
        fencingToken,
      };
      const { scope, field, key } = idempotencyRecords;
      inWriter
        .insert(idempotencyRecords)
        .values(claimed)
        .onConflictDoUpdate({ target: [scope, field, key], set: claimed })
        .run();
      return { kind: "claimed", lease: { identity, fencingToken }, steps: JSON.parse(payload) };
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
