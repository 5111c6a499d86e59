import {
  defaultFieldResolver,
  type GraphQLDirective,
  GraphQLError,
  type GraphQLFieldConfig,
  type GraphQLResolveInfo,
  responsePathAsArray,
} from "graphql";
import { type Call, type CallRules, createCall } from "../core/call.ts";
import { type Effect, execute } from "../core/execute.ts";
import { type Key, readKey } from "../core/key.ts";
import type { ExternalCall } from "../core/lease.ts";
import { isPlainRecord } from "../core/plain-record.ts";
import { type Executed, isResult } from "../core/record.ts";
import { type SHARED, scopeOf } from "../core/scope.ts";
import { shared } from "../core/shared.ts";
import { IdempotencyError, isIdempotencyError, maskedError, readableError, withKey } from "../errors.ts";
import type { ErrorAdvice } from "../protocol.ts";
import type { Store } from "../stores/store.ts";
import { ArgumentFingerprints } from "./argument-fingerprint.ts";
import { clientKey } from "./client-key.ts";
import { withGrant } from "./grant.ts";
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
type Resolver = NonNullable<FieldConfig["resolve"]>;

/** A field of the mutation type, and all that its calls need. */
export interface ProtectedField<Context, Transaction> {
  /** `Mutation.createOrder`, whatever the mutation type is called: a deploy may rename it. */
  readonly coordinate: string;
  readonly policy: Policy;
  readonly rules: CallRules;
  readonly store: Store<Transaction>;
  readonly scope: ((context: Context) => string | Promise<string>) | typeof SHARED;
  readonly header: ((context: Context) => unknown) | undefined;
  /** The directive, when clients may write it on a field of their operation. */
  readonly clientDirective: GraphQLDirective | undefined;
}

const protectedResolvers = shared("graphql-idempotent.protected", () => new WeakSet<object>());
/** Marks a protected field by its extensions, which survive when somebody wraps its resolver. */
const mark = "graphql-idempotent.protected";

/** Wraps the field's resolver: identify the call → execute it, or replay its record → answer. */
export function protect<Context, Transaction>(
  config: FieldConfig,
  field: ProtectedField<Context, Transaction>,
): FieldConfig {
  const resolve = config.resolve ?? defaultFieldResolver;
  if (protectedResolvers.has(resolve) || config.extensions?.[mark]) {
    throw new Error(
      `${field.coordinate} is protected already, and a call would wait for itself. Call transform() once on a schema.`,
    );
  }

  const fingerprints = new ArgumentFingerprints(config.args ?? {}, field.policy.ignore);

  function idempotentResolver(...[root, args, context, info]: Parameters<Resolver>) {
    return new FieldCall(field, resolve, fingerprints, root, args, context, info).answer();
  }

  protectedResolvers.add(idempotentResolver);
  return { ...config, resolve: idempotentResolver, extensions: { ...config.extensions, [mark]: true } };
}

/**
 * One call of a protected field.
 *
 * started → identified (key) → [ run (the resolver was reached) ] → executed (record) → answered
 *
 * An error can come at any of these points. How far the call got decides what its client is told.
 */
class FieldCall<Context, Transaction> {
  readonly #field: ProtectedField<Context, Transaction>;
  readonly #resolve: Resolver;
  readonly #fingerprints: ArgumentFingerprints;
  readonly #root: unknown;
  readonly #args: Record<string, unknown>;
  readonly #context: unknown;
  readonly #info: GraphQLResolveInfo;
  #key: Key | undefined;
  #call: Call | undefined;
  #hasRun = false;
  #executed: Executed | undefined;

  constructor(
    field: ProtectedField<Context, Transaction>,
    resolve: Resolver,
    fingerprints: ArgumentFingerprints,
    root: unknown,
    args: Record<string, unknown>,
    context: unknown,
    info: GraphQLResolveInfo,
  ) {
    this.#field = field;
    this.#resolve = resolve;
    this.#fingerprints = fingerprints;
    this.#root = root;
    this.#args = args;
    this.#context = context;
    this.#info = info;
  }

  async answer(): Promise<unknown> {
    try {
      const call = await this.#identify();
      if (!call) return await this.#runWithoutKey();
      this.#executed = await execute(this.#field.store, call, this.#effect());
      const result = call.rules.codec.decode(this.#executed.record);
      this.#report(call, this.#executed);
      return result;
    } catch (error) {
      throw this.#errorFor(error);
    }
  }

  /** @returns undefined when the client sent no key */
  async #identify(): Promise<Call | undefined> {
    const { coordinate, policy, rules, scope, header, clientDirective } = this.#field;
    const context = this.#context as Context; // `as`: the schema's author says by the type of `scope` what it is
    const scopeName = scopeOf(typeof scope === "function" ? await scope(context) : scope);
    this.#key = readKey(
      {
        directive: clientDirective && clientKey(clientDirective, this.#info),
        argument: policy.argument && valueAt(this.#args, policy.argument),
        header: header?.(context),
      },
      String(this.#info.path.key),
    );
    if (!this.#key) return undefined;
    const fingerprint = this.#fingerprints.of(this.#args);
    this.#call = createCall(scopeName, coordinate, this.#key, fingerprint, rules);
    return this.#call;
  }

  #effect(): Effect<Transaction> {
    return this.#field.policy.effects === "EXTERNAL"
      ? { kind: "EXTERNAL", run: (idempotency) => this.#run({ idempotency }) }
      : { kind: "DATABASE", run: (tx) => this.#run({ tx }) };
  }

  async #run(granted: Readonly<Record<string, unknown>>): Promise<unknown> {
    this.#hasRun = true;
    // A run that was rolled back may have changed its arguments.
    const args = this.#field.store.mayRerun ? (copyOf(this.#args) as Record<string, unknown>) : this.#args; // `as`: a copy
    const result = await withGrant(this.#context, granted, (context) =>
      this.#resolve(this.#root, args, context, this.#info),
    );
    if (result instanceof Error) throw result; // to graphql-js, an error returned is an error thrown
    return result;
  }

  async #runWithoutKey(): Promise<unknown> {
    const { policy, store } = this.#field;
    if (policy.required) throw missingKey(this.#field);
    return store.write((tx) =>
      this.#run({ tx }).catch((thrown) => {
        throw readableError(thrown);
      }),
    );
  }

  #report({ key }: Call, { record, replayed }: Executed): void {
    reportOutcome(this.#context, () => ({
      path: responsePathAsArray(this.#info.path),
      key: key.sent,
      replayed,
      resourceId: record.resourceId,
      createdAt: new Date(record.createdAt).toISOString(),
      expiresAt: new Date(record.expiresAt).toISOString(),
    }));
  }

  #errorFor(thrown: unknown): GraphQLError {
    const error = readableError(thrown);
    if (isIdempotencyError(error)) return this.#key ? withKey(error, this.#key.sent) : error;
    if (this.#call && this.#executed) this.#report(this.#call, this.#executed); // a stored error is a result, too
    return answerFor(error, this.#adviceOn(error), this.#info);
  }

  #adviceOn(error: unknown): ErrorAdvice {
    // A transaction's writes have been rolled back; effects in another system have not. And a call that failed
    // before its resolver was reached may have had its effect in an earlier try.
    const isStored = this.#call !== undefined && isResult(this.#call, error);
    const key = this.#key?.sent ?? null;
    // There is a record, so the call has had its effect. Only a stored error says that it had none.
    if (this.#executed && !isStored) return { key, retryable: true, safeToUseNewKey: false };
    const wasReached = this.#hasRun || this.#executed !== undefined;
    return {
      key,
      retryable: !isStored,
      safeToUseNewKey: wasReached && this.#field.policy.effects === "DATABASE",
    };
  }
}

function valueAt(args: Record<string, unknown>, path: readonly string[]): unknown {
  let value: unknown = args;
  for (const step of path) {
    // `as`: on a checked path, all that isn't null is an input object
    value = (value as Record<string, unknown> | null | undefined)?.[step];
  }
  return value;
}

function missingKey<Context, Transaction>({
  policy,
  clientDirective,
  header,
}: ProtectedField<Context, Transaction>): IdempotencyError {
  const sources = [
    policy.argument && `in the argument ${policy.argument.join(".")}`,
    clientDirective && `on the field as @${clientDirective.name}(key:)`,
    header && "in the Idempotency-Key header",
  ].filter(Boolean);
  return new IdempotencyError(
    "IDEMPOTENCY_KEY_MISSING",
    `This mutation requires an idempotency key, ${sources.join(" or ")}, but none was sent. Send a UUID, the same one with every retry of this call.`,
  );
}

/** A copy of the plain parts of a value: objects and arrays. Instances, such as uploads and dates, stay the same. */
function copyOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyOf);
  if (typeof value !== "object" || value === null) return value;
  if (!isPlainRecord(value)) return value;
  const copy: Record<string, unknown> = Object.create(Object.getPrototypeOf(value));
  // Not by assignment: `__proto__` may be a name.
  for (const [name, member] of Object.entries(value)) {
    Object.defineProperty(copy, name, {
      value: copyOf(member),
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
  return copy;
}

/**
 * The error that the client gets, with advice on retries. A GraphQL error stays as it is; every other error is
 * unexpected, and is masked.
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
