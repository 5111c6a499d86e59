import type { ApolloServerPlugin, GraphQLRequestContextWillSendResponse } from "@apollo/server";
import { type DocumentNode, Kind, type SelectionSetNode } from "graphql";
import { IdempotencyError } from "../errors.ts";
import { collectOutcomes } from "../graphql/outcome.ts";
import {
  type ErrorAdvice,
  httpOf,
  KEY_HEADER,
  type Outcome,
  REPLAYED_HEADER,
  RETRY_AFTER_HEADER,
} from "../protocol.ts";

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
    async requestDidStart({ contextValue, request, requestIsBatched }) {
      const outcomes = collectOutcomes(contextValue);
      return {
        async didResolveOperation() {
          if (requestIsBatched && request.http?.headers.has(KEY_HEADER)) throw sharedHeader();
        },
        async willSendResponse(context) {
          const { body, http } = context.response;
          if (body.kind !== "single") return;
          if (outcomes.length > 0) {
            body.singleResult.extensions = { ...body.singleResult.extensions, idempotency: outcomes };
          }
          adviseOnLateErrors(context, outcomes);
          if (requestIsBatched) return;
          if (allReplayed(context, outcomes)) http.headers.set(REPLAYED_HEADER, "true");
          const failure = firstFailure(context);
          if (!failure || someSucceeded(context)) return;
          http.status = failure.status;
          if (failure.retryAfterSeconds)
            http.headers.set(RETRY_AFTER_HEADER, String(failure.retryAfterSeconds));
        },
      };
    },
  };
}

type Context = GraphQLRequestContextWillSendResponse<object>;

/**
 * Gives advice in errors that graphql-js found after a protected field had its result: null where that isn't allowed,
 * an integer out of range, an enum value that a deploy has removed. The call is done, and a retry replays the same.
 */
function adviseOnLateErrors(
  { response: { body }, errors = [] }: Context,
  outcomes: readonly Outcome[],
): void {
  if (body.kind !== "single" || !body.singleResult.errors || outcomes.length === 0) return;
  // Formatted errors may lack their path, but stand in the same order.
  body.singleResult.errors = body.singleResult.errors.map((formatted, index) => {
    const error = errors[index];
    const outcome = outcomes.find(({ path }) => error?.path?.[0] === path[0]);
    if (!outcome || error?.extensions.idempotency) return formatted;
    const idempotency: ErrorAdvice = { key: outcome.key, retryable: false, safeToUseNewKey: false };
    return { ...formatted, extensions: { ...formatted.extensions, idempotency } };
  });
}

/** Every error of a protected field has `extensions.idempotency`; the stored ones among them have an outcome. */
function allReplayed({ errors = [] }: Context, outcomes: readonly Outcome[]): boolean {
  if (outcomes.length === 0 || outcomes.some(({ replayed }) => !replayed)) return false;
  const settled = new Set(outcomes.map(({ path }) => path[0]));
  return errors.every(({ path, extensions }) => !extensions.idempotency || settled.has(path?.[0] ?? ""));
}

function firstFailure({ errors = [] }: Context) {
  for (const { extensions } of errors) {
    const failure = httpOf(extensions.code);
    if (failure) return failure;
  }
  return undefined;
}

/**
 * Whether a root field ran without an error of its own; one below it is no failure of the mutation. `data`
 * can't tell: an error where null isn't allowed makes all of it null, also the fields that had run before.
 */
function someSucceeded({ response: { body }, document, operation, errors = [] }: Context): boolean {
  if (body.kind !== "single" || body.singleResult.data === undefined || !operation) return false;
  const failed = new Set(errors.map(({ path }) => (path?.length === 1 ? path[0] : undefined)));
  // Mutations run one after the other, and none after that.
  const last = body.singleResult.data === null ? errors.at(-1)?.path?.[0] : undefined;
  for (const name of rootNames(operation.selectionSet, document)) {
    if (!failed.has(name)) return true;
    if (name === last) return false;
  }
  return false;
}

/** The response names of the root fields, in the order of their execution. */
function* rootNames({ selections }: SelectionSetNode, document?: DocumentNode): Generator<string> {
  for (const selection of selections) {
    if (selection.kind === Kind.FIELD) {
      if (selection.name.value !== "__typename") yield (selection.alias ?? selection.name).value;
    } else if (selection.kind === Kind.INLINE_FRAGMENT) {
      yield* rootNames(selection.selectionSet, document);
    } else {
      for (const definition of document?.definitions ?? []) {
        if (definition.kind === Kind.FRAGMENT_DEFINITION && definition.name.value === selection.name.value) {
          yield* rootNames(definition.selectionSet, document);
        }
      }
    }
  }
}

function sharedHeader(): IdempotencyError {
  const error = new IdempotencyError(
    "IDEMPOTENCY_KEY_INVALID",
    "The Idempotency-Key header can't be the key of several operations in one HTTP batch. Put a key into each operation.",
  );
  // It is the error of all of them, so it may be the status of the batch.
  error.extensions.http = { status: 400 };
  return error;
}
