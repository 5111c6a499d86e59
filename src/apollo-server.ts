import type { ApolloServerPlugin, GraphQLRequestContextWillSendResponse } from "@apollo/server";
import { httpOf, IdempotencyError } from "./errors.ts";
import { collectOutcomes, type Outcome } from "./outcome.ts";

/**
 * Tells clients what became of their keys:
 * - `extensions.idempotency` of the response lists the outcome of each protected field;
 * - `Idempotent-Replayed: true` when every protected field was a replay, as Stripe has it;
 * - the HTTP status of the first error, and `Retry-After`, when no root field of the operation succeeded.
 *
 * An HTTP batch has one status and one set of headers for all its operations, so they are left alone there,
 * and an `Idempotency-Key` header is refused: it can't be the key of each.
 */
export function idempotencyPlugin(): ApolloServerPlugin {
  return {
    async requestDidStart({ requestIsBatched }) {
      let outcomes: readonly Outcome[] = [];
      return {
        async didResolveOperation({ contextValue, request }) {
          if (requestIsBatched && request.http?.headers.has("idempotency-key")) throw sharedHeader();
          outcomes = collectOutcomes(contextValue);
        },
        async willSendResponse(context) {
          const { body, http } = context.response;
          if (body.kind !== "single") return;
          if (outcomes.length > 0) {
            body.singleResult.extensions = { ...body.singleResult.extensions, idempotency: outcomes };
          }
          if (requestIsBatched) return;
          if (outcomes.length > 0 && outcomes.every(({ replayed }) => replayed)) {
            http.headers.set("idempotent-replayed", "true");
          }
          const failure = outcomes.length === 0 && !hasSuccess(context) && firstFailure(context);
          if (!failure) return;
          http.status = failure.status;
          if (failure.retryAfterSeconds) http.headers.set("retry-after", String(failure.retryAfterSeconds));
        },
      };
    },
  };
}

type Context = GraphQLRequestContextWillSendResponse<object>;

/** Whether a root field has a result; null is one when no error says how it came about. */
function hasSuccess({ response, errors }: Context): boolean {
  const data = response.body.kind === "single" ? response.body.singleResult.data : undefined;
  return Object.keys(data ?? {}).some((name) => !errors?.some(({ path }) => path?.[0] === name));
}

function firstFailure({ errors }: Context) {
  for (const { extensions } of errors ?? []) {
    const failure = httpOf(extensions.code);
    if (failure) return failure;
  }
  return undefined;
}

function sharedHeader(): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_KEY_INVALID",
    "The Idempotency-Key header can't be the key of several operations in one HTTP batch. Put a key into each operation.",
  );
}
