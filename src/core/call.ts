import { GraphQLError } from "graphql";
import { IdempotencyError } from "../errors.ts";
import type { ErrorAdvice } from "../protocol.ts";
import type { Payload, RecordIdentity, StoredRecord } from "../stores/store.ts";
import { type Key, timeOfKey } from "./key.ts";
import type { PayloadCodec } from "./payload.ts";

/** A duplicate of a running call: WAIT for its result, or REJECT it. */
export type Concurrent = "WAIT" | "REJECT";
/** A thrown error: RETRY keeps nothing, REPLAY makes a GraphQLError the call's result. */
export type ErrorPolicy = "RETRY" | "REPLAY";

/** A call whose options have been checked. */
export interface Call {
  readonly identity: RecordIdentity;
  readonly key: Key;
  readonly fingerprint: string;
  /** Steps of the path to the new resource's ID. */
  readonly resourceId: readonly string[];
  readonly retentionMs: number;
  readonly concurrent: Concurrent;
  readonly waitMs: number;
  readonly leaseMs: number;
  readonly errors: ErrorPolicy;
  readonly codec: PayloadCodec;
}

/** A call that has its record: its own, or one that was there before. */
export interface Settled {
  readonly record: StoredRecord;
  readonly replayed: boolean;
}

/** @throws {IdempotencyError} IDEMPOTENCY_KEY_PARAMETER_MISMATCH */
export function replay(call: Call, record: StoredRecord): Settled {
  refuseOtherArguments(call, record.fingerprint);
  return { record, replayed: true };
}

/** The record of a call that ran. */
export function recordOf(call: Call, result: unknown, now: number): StoredRecord {
  return newRecord(call, call.codec.encode(result), resourceIdOf(result, call.resourceId), now);
}

/** The record of a call whose result is an error, or undefined when the error is not its result. */
export function recordOfError(call: Call, error: unknown, now: number): StoredRecord | undefined {
  if (call.errors !== "REPLAY" || !isResult(error)) return undefined;
  return newRecord(call, call.codec.encodeError(error), null, now);
}

/** An error that a resolver meant its client to see. This package's own are about the call, not its result. */
function isResult(error: unknown): error is GraphQLError {
  return error instanceof GraphQLError && !(error instanceof IdempotencyError);
}

function newRecord(call: Call, payload: Payload, resourceId: string | null, now: number): StoredRecord {
  // Written out, not spread: this runs once a call, and spreading costs as much as the store's look-up.
  return {
    scope: call.identity.scope,
    field: call.identity.field,
    key: call.identity.key,
    fingerprint: call.fingerprint,
    format: payload.format,
    payload: payload.payload,
    resourceId,
    createdAt: now,
    expiresAt: now + keptForMs(call, now),
  };
}

/**
 * How long a record of this call is kept. A key from a clock that runs ahead is good for as much longer, and
 * its record must last until the key is refused for its age.
 */
export function keptForMs(call: Call, now: number): number {
  return Math.max(0, (madeAtOf(call, now) ?? now) - now) + call.retentionMs;
}

/** When the key was made, if it tells: see `timeOfKey`. From a clock that is further ahead, it tells nothing. */
function madeAtOf({ key, retentionMs }: Call, now: number): number | undefined {
  const madeAt = timeOfKey(key.sent);
  return madeAt === undefined || madeAt - now > retentionMs ? undefined : madeAt;
}

function resourceIdOf(result: unknown, path: readonly string[]): string | null {
  let value = result;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return null;
    value = (value as Record<string, unknown>)[step]; // `as`: any object may be asked for a property
  }
  return typeof value === "string" || typeof value === "number" || typeof value === "bigint"
    ? String(value)
    : null;
}

/** The advice for a client about an error that the resolver threw. */
export function adviceOn(call: Call, error: unknown, hadNoEffect: boolean): ErrorAdvice {
  const replays = call.errors === "REPLAY" && isResult(error);
  return { key: call.key.sent, retryable: !replays, safeToUseNewKey: hadNoEffect };
}

/** @throws {IdempotencyError} IDEMPOTENCY_KEY_PARAMETER_MISMATCH */
export function refuseOtherArguments({ key, fingerprint }: Call, expected: string): void {
  if (fingerprint === expected) return;
  throw new IdempotencyError(
    "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
    "This idempotency key was used for a call with other arguments. A retry must have the arguments of the first call; another call needs a key of its own.",
    { key: key.sent },
  );
}

/**
 * A key that tells its age and is as old as the retention may have had a record that is gone by now.
 * Running the call again could repeat its effect.
 *
 * @throws {IdempotencyError} IDEMPOTENCY_KEY_EXPIRED
 */
export function refuseOldKey(call: Call, now: number): void {
  const { key, retentionMs } = call;
  const madeAt = madeAtOf(call, now);
  if (madeAt === undefined || now - madeAt < retentionMs) return;
  throw new IdempotencyError(
    "IDEMPOTENCY_KEY_EXPIRED",
    `This idempotency key was made at ${new Date(madeAt).toISOString()}, and results are kept for ${retentionMs / 1000} seconds: whether the call ran before can't be told any more. Look for its effect; if there is none, make a new key.`,
    { key: key.sent },
  );
}

export function stillRunning({ key }: Call): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_CONCURRENT_REQUEST",
    "A call with this idempotency key is still running. Retry with the same key to get its result.",
    { key: key.sent },
  );
}
