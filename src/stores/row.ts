import type { Claim, RecordIdentity, StoredRecord } from "./store.ts";

/** A row of a store's table of records: a record, or a claim, whose payload holds its finished steps. */
interface Row extends StoredRecord {
  /** Null in a record. */
  readonly leaseUntil: number | null;
  readonly fencingToken: number | null;
}

/** What a call with `effects: EXTERNAL` asks for when it claims its key. */
export interface Wish {
  readonly fingerprint: string;
  readonly leaseMs: number;
  readonly retentionMs: number;
}

/** What keeps a call from claiming the key. */
export function holderOf(row: Row | undefined, wish: Wish, time: number): Claim | undefined {
  if (!row || row.expiresAt <= time) return undefined;
  const { leaseUntil, fingerprint } = row;
  if (leaseUntil === null) return { kind: "found", record: row };
  const isHeld = leaseUntil > time || fingerprint !== wish.fingerprint;
  return isHeld ? { kind: "held", fingerprint, leaseUntil } : undefined;
}

/** The row of a new claim, in place of one that keeps nobody from it. It goes on with the steps of the claim before. */
export function claimOf(identity: RecordIdentity, wish: Wish, row: Row | undefined, time: number) {
  return {
    ...identity,
    fingerprint: wish.fingerprint,
    resourceId: null,
    format: "json" as const,
    payload: row && row.leaseUntil !== null && row.expiresAt > time ? row.payload : "{}",
    createdAt: time,
    expiresAt: time + Math.max(wish.retentionMs, wish.leaseMs),
    leaseUntil: time + wish.leaseMs,
    // Tokens begin at the time, so that they rise also over a row that was purged.
    fencingToken: Math.max((row?.fencingToken ?? 0) + 1, time),
  };
}
