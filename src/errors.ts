import { GraphQLError } from "graphql";

/** How a client, or a server in front of it, should treat an error. */
interface ErrorKind {
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
const errorKinds = {
  IDEMPOTENCY_KEY_MISSING: { status: 400, retryable: false, safeToUseNewKey: true },
  IDEMPOTENCY_KEY_INVALID: { status: 400, retryable: false, safeToUseNewKey: true },
  // The key has been used, perhaps by an earlier try of this very call whose arguments were not kept
  // stable: a client that mints a new key here by itself could repeat the effect.
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

/** What stands in `extensions.idempotency` of every error of a protected field. */
export interface ErrorAdvice {
  /** The key as the client sent it; null when there was none to name. */
  readonly key: string | null;
  readonly retryable: boolean;
  readonly safeToUseNewKey: boolean;
}

/**
 * An error of this package, safe to show to a client: `message` says what was required, what was received
 * and what to do; `extensions` has `code` and `idempotency` (see {@link ErrorAdvice}). What lies behind it,
 * if anything, is in `cause` and never leaves the server.
 */
export class IdempotencyError extends GraphQLError {
  readonly code: IdempotencyErrorCode;
  readonly key: string | null;

  constructor(code: IdempotencyErrorCode, message: string, options: { key?: string; cause?: unknown } = {}) {
    const { retryable, safeToUseNewKey } = errorKinds[code];
    const key = options.key ?? null;
    const idempotency: ErrorAdvice = { key, retryable, safeToUseNewKey };
    super(message, { extensions: { code, idempotency } });
    this.name = "IdempotencyError";
    this.code = code;
    this.key = key;
    if (options.cause !== undefined) this.cause = options.cause;
  }
}

/** A fault of the store, for whoever meets it. */
export function unavailable(reason: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_STORE_UNAVAILABLE",
    `${reason} Retry with the same key: the retry finds out whether this call took effect.`,
    { cause },
  );
}

/** A call that ran past its deadline. */
export function deadlineExceeded(deadlineMs: number, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_DEADLINE_EXCEEDED",
    `The call took longer than the ${deadlineMs} ms that a transaction may last, and was rolled back. Retry with the same key.`,
    { cause },
  );
}

/** An error that names no key yet, for the call that got it: a fault of the store can be that of many calls. */
export function withKey(error: IdempotencyError, key: string): IdempotencyError {
  if (error.key !== null) return error;
  return new IdempotencyError(error.code, error.message, { key, cause: error.cause ?? error });
}

/** HTTP status and `Retry-After` for an error code, or undefined for a code that isn't this package's. */
export function httpOf(code: unknown): Pick<ErrorKind, "status" | "retryAfterSeconds"> | undefined {
  return typeof code === "string" && Object.hasOwn(errorKinds, code)
    ? errorKinds[code as IdempotencyErrorCode] // `as`: hasOwn has just shown it
    : undefined;
}

/**
 * What the client gets for a fault in a resolver: an error that nobody meant it to see. The fault itself is
 * the `originalError`, for the server's own log.
 */
export function maskedFault(fault: unknown): GraphQLError {
  return new GraphQLError("Internal server error", {
    originalError:
      fault instanceof Error ? fault : new Error("A value that is no Error was thrown", { cause: fault }),
    extensions: { code: "INTERNAL_SERVER_ERROR" },
  });
}
