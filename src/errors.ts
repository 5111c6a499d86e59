import { GraphQLError } from "graphql";
import { type ErrorAdvice, errorKinds, type IdempotencyErrorCode } from "./protocol.ts";

/**
 * An error of this package, safe to show to a client: `message` says what was required, what was received
 * and what to do; `extensions` has `code` and `idempotency` (see {@link ErrorAdvice}). The underlying error,
 * if there is one, is in `cause` and never leaves the server.
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

/** Marks errors of this package, also those of another copy of it. */
const brand = Symbol.for("graphql-idempotent.error");
Object.defineProperty(IdempotencyError.prototype, brand, { value: true });

/** Whether an error is of this package. `instanceof` would miss those of another copy in the same server. */
export function isIdempotencyError(error: unknown): error is IdempotencyError {
  return (
    error instanceof IdempotencyError ||
    (error instanceof Error && brand in error && "code" in error && typeof error.code === "string")
  );
}

/** A store failed. Whether the call took effect may be unknown: a retry with the same key finds out. */
export function unavailable(reason: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_STORE_UNAVAILABLE",
    `${reason} Retry with the same key: the retry finds out whether this call took effect.`,
    { cause },
  );
}

/** A call ran past its deadline and was rolled back. */
export function deadlineExceeded(deadlineMs: number, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_DEADLINE_EXCEEDED",
    `The call took longer than the ${deadlineMs} ms that a transaction may last, and was rolled back. Retry with the same key.`,
    { cause },
  );
}

/** Names the key in an error that has none yet: one store error can be the answer to many calls. */
export function withKey(error: IdempotencyError, key: string): IdempotencyError {
  // A copy of another version may have codes that this one lacks.
  if (error.key !== null || !Object.hasOwn(errorKinds, error.code)) return error;
  return new IdempotencyError(error.code, error.message, { key, cause: error.cause ?? error });
}

/**
 * The error that a client gets for an unexpected one in a resolver. The original is its `originalError`, for
 * the server's own log.
 */
export function maskedError(error: unknown): GraphQLError {
  return new GraphQLError("Internal server error", {
    originalError:
      error instanceof Error ? error : new Error("A value that is no Error was thrown", { cause: error }),
    extensions: { code: "INTERNAL_SERVER_ERROR" },
  });
}

/** The longest chain of causes that is followed: a chain can be a circle. */
const maxCauses = 20;

/** An error and its causes, from the outside in. It never throws, whatever a resolver has thrown. */
export function causesOf(thrown: unknown): Error[] {
  const causes: Error[] = [];
  try {
    for (let cause = thrown; cause instanceof Error && causes.length < maxCauses; cause = cause.cause) {
      causes.push(cause);
    }
  } catch {
    // A proxy or a getter that throws ends the chain.
  }
  return causes;
}

/**
 * A thrown value that every layer can examine: a revoked proxy, or an error with a getter that throws, is replaced.
 * Code that has to roll back or answer must not fail on it.
 */
export function readableError(thrown: unknown): unknown {
  try {
    if (thrown instanceof Error) {
      const { message, extensions, cause, code }: Error & { extensions?: unknown; code?: unknown } = thrown;
      void [message, { ...Object(extensions) }, cause, code];
    } else {
      void String(Object.prototype.toString.call(thrown));
    }
    return thrown;
  } catch {
    return new Error("A value was thrown that itself throws when it is read.");
  }
}
