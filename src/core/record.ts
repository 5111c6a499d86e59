import { GraphQLError } from "graphql";
import { isIdempotencyError, readableError } from "../errors.ts";
import type { Payload, StoredRecord } from "../stores/store.ts";
import { type Call, refuseOtherArguments } from "./call.ts";
import { keptForMs } from "./key-age.ts";

/** A call that has its record: its own, or an earlier call's. */
export interface Executed {
  readonly record: StoredRecord;
  readonly replayed: boolean;
}

/** @throws {IdempotencyError} IDEMPOTENCY_KEY_PARAMETER_MISMATCH */
export function replay(call: Call, record: StoredRecord): Executed {
  refuseOtherArguments(call, record.fingerprint);
  return { record, replayed: true };
}

/** What a run left: a result, or an error that is the call's result (`errors: REPLAY`). */
export interface RunRecord {
  readonly kind: "result" | "error";
  readonly record: StoredRecord;
}

/**
 * Runs `run`, and builds the record of its result or error.
 *
 * @throws whatever `run` throws, where that isn't the call's result
 */
export async function recordOfRun(call: Call, now: () => number, run: () => unknown): Promise<RunRecord> {
  try {
    const result = await run();
    const { codec, resourceId } = call.rules;
    return {
      kind: "result",
      record: newRecord(call, codec.encode(result), resourceIdOf(result, resourceId), now()),
    };
  } catch (thrown) {
    const error = readableError(thrown);
    if (!isResult(call, error)) throw error;
    return { kind: "error", record: newRecord(call, call.rules.codec.encodeError(error), null, now()) };
  }
}

/**
 * Whether a thrown error is the call's result: `errors: REPLAY` makes it that if the resolver meant its client
 * to see it. Errors of this package are about the call, and never its result.
 */
export function isResult({ rules }: Call, error: unknown): error is GraphQLError {
  return rules.errors === "REPLAY" && error instanceof GraphQLError && !isIdempotencyError(error);
}

function newRecord(call: Call, payload: Payload, resourceId: string | null, now: number): StoredRecord {
  // Written out, not spread: this runs once a call, and spreading costs as much as the store's look-up.
  return {
    scope: call.identity.scope,
    field: call.identity.field,
    key: call.identity.key,
    fingerprint: call.fingerprint.current,
    format: payload.format,
    payload: payload.payload,
    resourceId,
    createdAt: now,
    expiresAt: now + keptForMs(call, now),
  };
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
