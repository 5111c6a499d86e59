import type { Claim, ClaimRequest, Lease, LeaseChange, RecordIdentity, StoredRecord } from "./store.ts";

// Every decision about a row of the table of records, for all engines. An engine reads the row of an identity,
// asks a function of this file, and writes the row that it returns. Nothing here reads a clock or a database.

/**
 * A row of the table of records, in one of these states:
 *
 * - record: `leaseUntil` is null. The call is over, and `payload` is its result.
 * - claim, held: `leaseUntil` lies ahead. The call runs under a lease, and `payload` holds its finished steps.
 * - claim, released: `leaseUntil` has passed. The call failed or crashed; the next one takes over its steps.
 * - expired: `expiresAt` has passed. A record or claim that counts as absent, until it is purged or replaced.
 */
export interface Row extends StoredRecord {
  readonly leaseUntil: number | null;
  readonly fencingToken: number | null;
}

/** The record that a replay returns, or undefined where the row is a claim, expired or missing. */
export function liveRecord(row: Row | undefined, now: number): StoredRecord | undefined {
  return isLive(row, now) && row.leaseUntil === null ? row : undefined;
}

/** Whether a call with `effects: EXTERNAL` owns the key, running or not: no transaction may run beside it. */
export function isClaimed(row: Row | undefined, now: number): boolean {
  return isLive(row, now) && row.leaseUntil !== null;
}

function isLive(row: Row | undefined, now: number): row is Row {
  return row !== undefined && row.expiresAt > now;
}

/** The row of a finished call. It replaces whatever row was there. */
export function recordRow(record: StoredRecord): Row {
  // Written out, not spread: this runs once a call.
  return {
    scope: record.scope,
    field: record.field,
    key: record.key,
    fingerprint: record.fingerprint,
    format: record.format,
    payload: record.payload,
    resourceId: record.resourceId,
    createdAt: record.createdAt,
    expiresAt: record.expiresAt,
    leaseUntil: null,
    fencingToken: null,
  };
}

/** What prevents a claim of the key: a record, a held claim, or a claim for other arguments. */
export function blockingClaim(row: Row | undefined, request: ClaimRequest, now: number): Claim | undefined {
  if (!isLive(row, now)) return undefined;
  const { leaseUntil, fingerprint } = row;
  if (leaseUntil === null) return { kind: "found", record: row };
  const blocks = leaseUntil > now || !request.matches(fingerprint);
  return blocks ? { kind: "held", fingerprint, leaseUntil } : undefined;
}

/**
 * Builds the row for a new claim, replacing an expired or released one. Steps completed under a released
 * claim are carried over; those of an expired one are not.
 */
export function newClaimRow(
  identity: RecordIdentity,
  request: ClaimRequest,
  row: Row | undefined,
  now: number,
): Row & { readonly fencingToken: number } {
  return {
    ...identity,
    fingerprint: request.fingerprint,
    resourceId: null,
    format: "json",
    payload: row && isClaimed(row, now) ? row.payload : "{}",
    createdAt: now,
    expiresAt: now + Math.max(request.retentionMs, request.leaseMs),
    leaseUntil: now + request.leaseMs,
    // Tokens start at the time, so that they rise also after the earlier row was purged.
    fencingToken: Math.max((row?.fencingToken ?? 0) + 1, now),
  };
}

/** The answer to a claim that was carried out. */
export function claimed(row: Row & { readonly fencingToken: number }): Claim {
  const { scope, field, key, fencingToken, payload } = row;
  return {
    kind: "claimed",
    lease: { identity: { scope, field, key }, fencingToken },
    steps: JSON.parse(payload),
  };
}

/** Whether the row is still the claim of this lease: neither finished nor taken over. */
export function isOwned(row: Row | undefined, { fencingToken }: Lease): row is Row {
  return row !== undefined && row.leaseUntil !== null && row.fencingToken === fencingToken;
}

/** The row after a change by the owner of its claim. */
export function changedRow(row: Row, change: LeaseChange, now: number): Row {
  switch (change.kind) {
    case "renew": {
      const leaseUntil = now + change.leaseMs;
      return { ...row, leaseUntil, expiresAt: Math.max(row.expiresAt, leaseUntil) };
    }
    case "step": {
      const steps = { ...JSON.parse(row.payload), [change.name]: change.payload };
      return { ...row, payload: JSON.stringify(steps) };
    }
    case "finish":
      // The token stays, so that the next claim of this key gets a higher one.
      return { ...row, ...change.record, leaseUntil: null };
    case "release":
      return { ...row, leaseUntil: now };
  }
}
