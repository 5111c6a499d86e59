import {
  defaultFieldResolver,
  type GraphQLDirective,
  GraphQLError,
  type GraphQLFieldConfig,
  type GraphQLResolveInfo,
  responsePathAsArray,
} from "graphql";
import { adviceOn, type Call, type Settled } from "../core/call.ts";
import { settle } from "../core/execute.ts";
import { fingerprint } from "../core/fingerprint.ts";
import { type Key, readKey } from "../core/key.ts";
import type { ExternalCall } from "../core/lease.ts";
import type { PayloadCodec } from "../core/payload.ts";
import { type SHARED, scopeOf } from "../core/scope.ts";
import { IdempotencyError, maskedError, withKey } from "../errors.ts";
import type { ErrorAdvice } from "../protocol.ts";
import type { Store } from "../stores/store.ts";
import { clientKey } from "./client-key.ts";
import { reportOutcome } from "./outcome.ts";
import type { Policy } from "./policy.ts";

/** What a protected resolver finds in its context: everything written through `tx` commits with the key. */
export interface TransactionContext<Transaction> {
  readonly tx: Transaction;
}

/** What a resolver with `effects: EXTERNAL` finds in its context. */
export interface ExternalContext<Transaction> {
  readonly idempotency: ExternalCall<Transaction>;
}

type FieldConfig = GraphQLFieldConfig<unknown, unknown>;

/** A field of the mutation type, and all that its calls need. */
export interface ProtectedField<Context, Transaction> {
  /** The field's coordinate. */
  readonly place: string;
  readonly policy: Policy;
  readonly store: Store<Transaction>;
  readonly scope: ((context: Context) => string | Promise<string>) | typeof SHARED;
  readonly header: ((context: Context) => unknown) | undefined;
  /** The directive, when clients may write it on a field of their operation. */
  readonly clientDirective: GraphQLDirective | undefined;
  readonly codec: PayloadCodec;
  readonly waitMs: number;
  readonly leaseMs: number;
}

const protectedResolvers = new WeakSet<object>();

/** The wrapped resolver: finds out which call it is, has it settled, and answers with what was stored. */
export function protect<Context, Transaction>(
  config: FieldConfig,
  field: ProtectedField<Context, Transaction>,
): FieldConfig {
  const { policy, store } = field;
  const resolve = config.resolve ?? defaultFieldResolver;
  if (protectedResolvers.has(resolve)) {
    throw new Error(
      `${field.place} is protected already, and a call would wait for itself. Call transform() once on a schema.`,
    );
  }

  async function idempotentResolver(...[root, args, context, info]: Parameters<typeof resolve>) {
    let key: Key | undefined;
    let call: Call | undefined;
    let settled: Settled | undefined;
    let hasRun = false;
    try {
      // `as`: the schema's author says by the type of `scope` what the context is
      const scope = scopeOf(
        typeof field.scope === "function" ? await field.scope(context as Context) : field.scope,
      );
      key = keyOf(field, args, context as Context, info);
      const run = async (granted: object) => {
        hasRun = true;
        const result = await resolve(root, args, extended(context, granted), info);
        if (result instanceof Error) throw result; // to graphql-js, an error returned is an error thrown
        return result;
      };
      if (!key) return await runUnprotected(field, (tx) => run({ tx }));
      call = callOf(field, scope, key, args);
      settled = await settle(
        store,
        call,
        policy.effects === "EXTERNAL"
          ? { kind: "EXTERNAL", run: (idempotency) => run({ idempotency }) }
          : { kind: "DATABASE", run: (tx) => run({ tx }) },
      );
      const result = field.codec.decode(settled.record);
      report(context, info, call, settled);
      return result;
    } catch (error) {
      if (error instanceof IdempotencyError) throw key ? withKey(error, key.sent) : error;
      if (call && settled) report(context, info, call, settled); // a stored error is a result, too
      // What a transaction did has been rolled back; what another system did has not. And where the resolver
      // was not reached, an earlier try may have had its effect.
      const hadNoEffect = (hasRun || settled !== undefined) && policy.effects === "DATABASE";
      const advice = call
        ? adviceOn(call, error, hadNoEffect)
        : { key: key?.sent ?? null, retryable: true, safeToUseNewKey: hadNoEffect };
      throw answerFor(error, advice, info);
    }
  }

  protectedResolvers.add(idempotentResolver);
  return { ...config, resolve: idempotentResolver };
}

function keyOf<Context, Transaction>(
  { policy, clientDirective, header }: ProtectedField<Context, Transaction>,
  args: Record<string, unknown>,
  context: Context,
  info: GraphQLResolveInfo,
): Key | undefined {
  return readKey(
    {
      directive: clientDirective && clientKey(clientDirective, info),
      argument: policy.argument && valueAt(args, policy.argument),
      header: header?.(context),
    },
    String(info.path.key),
  );
}

function valueAt(args: Record<string, unknown>, path: readonly string[]): unknown {
  let value: unknown = args;
  for (const step of path) {
    // `as`: on a checked path, all that isn't null is an input object
    value = (value as Record<string, unknown> | null | undefined)?.[step];
  }
  return value;
}

function callOf<Context, Transaction>(
  { place, policy, codec, waitMs, leaseMs }: ProtectedField<Context, Transaction>,
  scope: string,
  key: Key,
  args: Record<string, unknown>,
): Call {
  return {
    identity: { scope, field: place, key: key.stored },
    key,
    fingerprint: fingerprint(args, policy.ignore),
    resourceId: policy.resourceId,
    retentionMs: policy.retentionMs,
    concurrent: policy.concurrent,
    waitMs,
    leaseMs,
    errors: policy.errors,
    codec,
  };
}

async function runUnprotected<Context, Transaction>(
  { policy, clientDirective, header, store }: ProtectedField<Context, Transaction>,
  run: (tx: Transaction) => unknown,
): Promise<unknown> {
  if (!policy.required) return store.write(run);
  const sources = [
    policy.argument && `in the argument ${policy.argument.join(".")}`,
    clientDirective && `on the field as @${clientDirective.name}(key:)`,
    header && "in the Idempotency-Key header",
  ].filter(Boolean);
  throw new IdempotencyError(
    "IDEMPOTENCY_KEY_MISSING",
    `This mutation requires an idempotency key, ${sources.join(" or ")}, but none was sent. Send a UUID, the same one with every retry of this call.`,
  );
}

/**
 * A copy of the context for one call, made as Apollo Server itself copies contexts: own properties and
 * prototype stay, and what is granted to one call never shows in another.
 */
function extended(context: unknown, granted: object): object {
  if (typeof context !== "object" || context === null) return granted;
  return Object.assign(Object.create(Object.getPrototypeOf(context)), context, granted);
}

function report(
  context: unknown,
  info: GraphQLResolveInfo,
  { key }: Call,
  { record, replayed }: Settled,
): void {
  reportOutcome(context, () => ({
    path: responsePathAsArray(info.path),
    key: key.sent,
    replayed,
    resourceId: record.resourceId,
    createdAt: new Date(record.createdAt).toISOString(),
    expiresAt: new Date(record.expiresAt).toISOString(),
  }));
}

/**
 * The error that the client gets, with advice on retries: a GraphQL error as it is; all else is a fault that
 * nobody meant to show, and is masked.
 */
function answerFor(error: unknown, advice: ErrorAdvice, info: GraphQLResolveInfo): GraphQLError {
  const shown = error instanceof GraphQLError ? error : maskedError(error);
  return new GraphQLError(shown.message, {
    // The field's own place, as a replayed error has it. With its path set, the error passes through
    // graphql-js as it is, and `originalError` stays the thrown one.
    nodes: info.fieldNodes,
    path: responsePathAsArray(info.path),
    originalError: error instanceof GraphQLError ? error : shown.originalError,
    extensions: { ...shown.extensions, idempotency: advice },
  });
}
