// What client and server both speak: PROTOCOL.md as data. This file imports nothing.

/** The request header that carries a key (draft-ietf-httpapi-idempotency-key-header, section 2). */
export const KEY_HEADER = "idempotency-key";
/** The response header that says "true" when every protected field was a replay, as Stripe has it. */
export const REPLAYED_HEADER = "idempotent-replayed";
/** The response header with the seconds to wait before a retry (RFC 9110, section 10.2.3). */
export const RETRY_AFTER_HEADER = "retry-after";
/** How a client, or a server in front of it, should treat an error. */
export interface ErrorKind {
  /** HTTP status, used when no root field of the operation succeeded. */
  readonly status: number;
  /** Sending the same request with the same key again can succeed. */
  readonly retryable: boolean;
  /**
   * The call has certainly had no effect, now or earlier, so sending it under a new key can't repeat one.
   * False wherever that isn't certain, and wherever a retry with the same key is all it takes.
   */
  readonly safeToUseNewKey: boolean;
  /** Seconds to wait before a retry: the `Retry-After` header. */
  readonly retryAfterSeconds?: number;
}

/**
 * Every error of this package that can reach a client. 400 for a missing key, 422 for a reused one and 409
 * for one in flight come from draft-ietf-httpapi-idempotency-key-header, section 2.7.
 */
export const errorKinds = {
  IDEMPOTENCY_KEY_MISSING: { status: 400, retryable: false, safeToUseNewKey: true },
  IDEMPOTENCY_KEY_INVALID: { status: 400, retryable: false, safeToUseNewKey: true },
  // The key was used before, perhaps by an earlier try of this very call whose arguments were not kept
  // stable. A client that made a new key here by itself could repeat the effect.
  IDEMPOTENCY_KEY_PARAMETER_MISMATCH: { status: 422, retryable: false, safeToUseNewKey: false },
  IDEMPOTENCY_KEY_EXPIRED: { status: 422, retryable: false, safeToUseNewKey: false },
  IDEMPOTENCY_CONCURRENT_REQUEST: {
    status: 409,
    retryable: true,
    safeToUseNewKey: false,
    retryAfterSeconds: 1,
  },
  IDEMPOTENCY_STORE_UNAVAILABLE: {
    status: 503,
    retryable: true,
    safeToUseNewKey: false,
    retryAfterSeconds: 1,
  },
  IDEMPOTENCY_DEADLINE_EXCEEDED: {
    status: 503,
    retryable: true,
    safeToUseNewKey: false,
    retryAfterSeconds: 1,
  },
  IDEMPOTENCY_ARGUMENT_UNSUPPORTED: { status: 500, retryable: false, safeToUseNewKey: true },
  IDEMPOTENCY_RESULT_UNSTORABLE: { status: 500, retryable: true, safeToUseNewKey: false },
  IDEMPOTENCY_RECORD_UNREADABLE: { status: 500, retryable: false, safeToUseNewKey: false },
} as const satisfies Record<string, ErrorKind>;

/** The `extensions.code` of an error of this package. */
export type IdempotencyErrorCode = keyof typeof errorKinds;

/** The content of `extensions.idempotency` in every error of a protected field. */
export interface ErrorAdvice {
  /** The key as the client sent it; null when there was none to name. */
  readonly key: string | null;
  readonly retryable: boolean;
  readonly safeToUseNewKey: boolean;
}

/** What a protected field reports in `extensions.idempotency` of the response. */
export interface Outcome {
  /** The field's place in the response, as in an error's `path`. */
  readonly path: readonly (string | number)[];
  /** The key as the client sent it. */
  readonly key: string;
  /** True when the result is that of an earlier call, and the resolver did not run. */
  readonly replayed: boolean;
  readonly resourceId: string | null;
  /** When the first call ran: an ISO 8601 time in UTC. */
  readonly createdAt: string;
  /** Until when the key replays: an ISO 8601 time in UTC. */
  readonly expiresAt: string;
}

/** HTTP status and `Retry-After` for an error code, or undefined for a code that isn't this package's. */
export function httpOf(code: unknown): Pick<ErrorKind, "status" | "retryAfterSeconds"> | undefined {
  return typeof code === "string" && Object.hasOwn(errorKinds, code)
    ? errorKinds[code as IdempotencyErrorCode] // `as`: hasOwn has just shown it
    : undefined;
}
