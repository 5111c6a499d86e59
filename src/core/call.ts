import { IdempotencyError, unavailable } from "../errors.ts";
import type { RecordIdentity } from "../stores/store.ts";
import { type Fingerprint, isComparable } from "./fingerprint.ts";
import { type Key, timeOfKey } from "./key.ts";
import type { PayloadCodec } from "./payload.ts";

/** A duplicate of a running call: WAIT for its result, or REJECT it. */
export type Concurrent = "WAIT" | "REJECT";
/** A thrown error: RETRY keeps nothing, REPLAY makes a GraphQLError the call's result. */
export type ErrorPolicy = "RETRY" | "REPLAY";

/** What the author asked for: the same for every call of a field. */
export interface CallRules {
  /** Steps of the path to the new resource's ID. */
  readonly resourceId: readonly string[];
  readonly retentionMs: number;
  readonly concurrent: Concurrent;
  /** How long a duplicate waits for a running call. */
  readonly waitMs: number;
  /** How long after a crash a call with `effects: EXTERNAL` is taken over. */
  readonly leaseMs: number;
  readonly errors: ErrorPolicy;
  readonly codec: PayloadCodec;
}

/** The rules that apply where an author names none, for the directive and for `once()` alike. */
export const defaultRules = {
  resourceId: "id",
  /** As Stripe keeps its keys. */
  retention: "24h",
  concurrent: "WAIT",
  waitMs: 10_000,
  leaseMs: 30_000,
  errors: "RETRY",
} as const;

/** One call of a client, with its checked options. */
export interface Call {
  readonly identity: RecordIdentity;
  readonly key: Key;
  /** When the key was made, in milliseconds since the epoch, if it tells. */
  readonly keyTime: number | undefined;
  readonly fingerprint: Fingerprint;
  readonly rules: CallRules;
}

export function createCall(
  scope: string,
  field: string,
  key: Key,
  fingerprint: Fingerprint,
  rules: CallRules,
): Call {
  return {
    identity: { scope, field, key: key.stored },
    key,
    keyTime: timeOfKey(key.sent),
    fingerprint,
    rules,
  };
}

/**
 * @param stored the fingerprint of an earlier call with the same key
 * @throws {IdempotencyError} IDEMPOTENCY_KEY_PARAMETER_MISMATCH
 * @throws {IdempotencyError} IDEMPOTENCY_STORE_UNAVAILABLE for a record of a newer version of this package
 */
export function refuseOtherArguments({ key, fingerprint }: Call, stored: string): void {
  if (fingerprint.matches(stored)) return;
  // During a deploy, another server has the newer version, and can tell.
  if (!isComparable(stored))
    throw unavailable("A newer version of this server has written the record of this call.");
  throw new IdempotencyError(
    "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
    "This idempotency key was used for a call with other arguments. A retry must have the arguments of the first call; another call needs a key of its own.",
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
