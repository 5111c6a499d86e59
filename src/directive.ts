import { MapperKind, mapSchema } from "@graphql-tools/utils";
import {
  buildASTSchema,
  defaultFieldResolver,
  type GraphQLDirective,
  GraphQLError,
  type GraphQLFieldConfig,
  type GraphQLResolveInfo,
  GraphQLSchema,
  isInterfaceType,
  isObjectType,
  parse,
  responsePathAsArray,
} from "graphql";
import { clientKey, refuseClientKey } from "./client-directive.ts";
import { type ErrorAdvice, IdempotencyError, maskedFault } from "./errors.ts";
import { fingerprint } from "./fingerprint.ts";
import { type Key, readKey } from "./key.ts";
import { adviceOn, type Call, type Settled, settle } from "./once.ts";
import { checkOptions } from "./options.ts";
import { reportOutcome } from "./outcome.ts";
import { createPayloadCodec, type PayloadCodec, type PayloadOptions } from "./payload.ts";
import { directiveOn, type Policy, policyFor } from "./policy.ts";
import { type SHARED, scopeOf } from "./scope.ts";
import type { Store } from "./store.ts";

/** @typeParam Context what resolvers get as their context, without `tx` */
export interface IdempotentOptions<Context, Transaction> extends PayloadOptions {
  /** Where results are kept, in one transaction with the resolvers' own writes. */
  readonly store: Store<Transaction>;
  /**
   * Whose call it is: a customer's ID, a tenant's. Two scopes never see each other's results. It runs before
   * the key is looked at, so it may refuse a caller it doesn't know by throwing.
   */
  readonly scope: ((context: Context) => string | Promise<string>) | typeof SHARED;
  /**
   * Enables keys from a request header (draft-ietf-httpapi-idempotency-key-header): returns the value of
   * `Idempotency-Key`, or nothing. @default none
   */
  readonly header?: (context: Context) => string | readonly string[] | null | undefined;
  /** Enables keys that clients write on a field of their operation, `@idempotent(key: $key)`. @default false */
  readonly clientDirective?: boolean;
  /** The directive's name in the schema. @default "idempotent" */
  readonly name?: string;
  /** "all-mutations" makes a mutation without the directive an error at schema build. @default none */
  readonly requireOn?: "all-mutations";
  /** Mutations that `requireOn` lets off: those that are idempotent by nature. @default [] */
  readonly except?: readonly string[];
  /** How long a duplicate waits for a running call, in milliseconds, before 409. @default 10_000 */
  readonly waitMs?: number;
  /** Gets what is suspicious but works, at schema build. @default process.emitWarning */
  readonly warn?: (message: string) => void;
}

export interface Idempotency {
  /** The directive's definition, for `makeExecutableSchema({ typeDefs: [idempotency.typeDefs, …] })`. */
  readonly typeDefs: string;
  /**
   * Wraps the resolvers of annotated mutations. Wraps that check permission must go around the result of
   * this, so that a replay passes them too.
   *
   * @throws {Error} for every misuse of the directive, naming the field and the mend
   */
  transform(schema: GraphQLSchema): GraphQLSchema;
}

/** What a protected resolver finds in its context: everything written through `tx` commits with the key. */
export interface TransactionContext<Transaction> {
  readonly tx: Transaction;
}

const knownOptions: readonly (keyof IdempotentOptions<never, never>)[] = [
  "store",
  "scope",
  "header",
  "clientDirective",
  "name",
  "requireOn",
  "except",
  "waitMs",
  "warn",
  "types",
  "maxBytes",
];

/**
 * Makes the `@idempotent` directive: clients may retry an annotated mutation for ever, its effect happens
 * once, and every retry gets the first result. PROTOCOL.md has the contract.
 *
 * @throws {TypeError} for a missing, unknown or malformed option
 */
export function idempotent<Context, Transaction>(
  options: IdempotentOptions<Context, Transaction>,
): Idempotency {
  checkOptions("idempotent", options, knownOptions);
  if (typeof options.store?.transaction !== "function") {
    throw new TypeError(
      "idempotent() requires a `store`, such as sqliteStore(openDatabase(file, { schema })).",
    );
  }
  if (typeof options.scope !== "function") scopeOf(options.scope);
  const name = options.name ?? "idempotent";
  const typeDefs = directiveSdl(name, options.clientDirective === true);
  const directive = buildASTSchema(parse(typeDefs)).getDirective(name);
  if (!directive) throw new TypeError(`idempotent(): "${name}" is no name for a directive.`);
  return { typeDefs, transform: (schema) => transform(schema, directive, options) };
}

function directiveSdl(name: string, clientDirective: boolean): string {
  return `"""
Clients may retry the mutation for ever: its effect happens once, and every retry gets the first result.
"""
directive @${name}(${
    clientDirective
      ? `
  "On a field of an operation: the idempotency key. The only argument that a client may give."
  key: String`
      : ""
  }
  "Dotted path of the argument that carries the key."
  argument: String = "idempotencyKey"
  "Dotted path of the new resource's ID in the result."
  resourceId: String = "id"
  "How long a result is replayed: 30s, 15m, 24h, 30d."
  retention: String = "24h"
  "Arguments that may differ between retries."
  ignore: [String!] = []
  "DATABASE: one transaction. EXTERNAL: a lease, for calls to other systems."
  effects: IdempotentEffects = DATABASE
  "A duplicate of a running call: WAIT for its result, or REJECT."
  concurrent: IdempotentConcurrent = WAIT
  "A thrown error: RETRY (nothing is kept) or REPLAY (the error is the result)."
  errors: IdempotentErrors = RETRY
  "False: a call without a key runs unprotected."
  required: Boolean = true
) on FIELD_DEFINITION | OBJECT${clientDirective ? " | FIELD" : ""}

enum IdempotentEffects { DATABASE EXTERNAL }
enum IdempotentConcurrent { WAIT REJECT }
enum IdempotentErrors { RETRY REPLAY }
`;
}

function transform<Context, Transaction>(
  schema: GraphQLSchema,
  directive: GraphQLDirective,
  options: IdempotentOptions<Context, Transaction>,
): GraphQLSchema {
  refuseElsewhere(schema, directive.name);
  const mutation = schema.getMutationType();
  const ofType = mutation && directiveOn(mutation, directive.name);
  const except = new Set(options.except);
  const sources = { header: !!options.header, clientDirective: options.clientDirective === true };
  const warn = options.warn ?? ((message: string) => process.emitWarning(message));
  const codec = createPayloadCodec(options);

  const transformed = mapSchema(schema, {
    [MapperKind.MUTATION_ROOT_FIELD]: (config, fieldName, typeName) => {
      const place = `${typeName}.${fieldName}`;
      const field = mutation?.getFields()[fieldName];
      const ofField = field && directiveOn(field, directive.name);
      const excepted = except.delete(fieldName);
      if (excepted && ofField) {
        throw new Error(
          `@${directive.name} on ${place}: the field is annotated and excepted. Drop one of the two.`,
        );
      }
      if (!field || excepted || !(ofType || ofField)) {
        if (options.requireOn === "all-mutations" && !excepted) throw unannotated(place, directive.name);
        return options.clientDirective ? refuseClientKey(config, place, directive) : config;
      }
      const policy = policyFor(field, { ...ofType, ...ofField }, place, sources, warn);
      return protect(config, { place, policy, directive, codec, options });
    },
  });
  const [unknown] = except;
  if (unknown !== undefined) {
    throw new Error(`idempotent({ except }) names "${unknown}", which is no mutation of the schema.`);
  }
  return withDirective(transformed, directive);
}

function refuseElsewhere(schema: GraphQLSchema, name: string): void {
  for (const type of Object.values(schema.getTypeMap())) {
    if (type === schema.getMutationType() || !(isObjectType(type) || isInterfaceType(type))) continue;
    const field = Object.values(type.getFields()).find((candidate) => directiveOn(candidate, name));
    if (!field && !directiveOn(type, name)) continue;
    throw new Error(
      `@${name} on ${type.name}${field ? `.${field.name}` : ""}: only fields of the root mutation type can be idempotent. Move the directive to the mutation.`,
    );
  }
}

function unannotated(place: string, name: string): Error {
  return new Error(
    `${place} has no @${name}, and requireOn: "all-mutations" wants it on every mutation. Annotate the field, or add it to except if it is idempotent by nature.`,
  );
}

/** Code-first schemas don't know the directive yet; clients can only use what the schema defines. */
function withDirective(schema: GraphQLSchema, directive: GraphQLDirective): GraphQLSchema {
  if (schema.getDirective(directive.name)) return schema;
  const config = schema.toConfig();
  return new GraphQLSchema({ ...config, directives: [...config.directives, directive] });
}

type FieldConfig = GraphQLFieldConfig<unknown, unknown>;

interface ProtectedField<Context, Transaction> {
  /** The field's coordinate. */
  readonly place: string;
  readonly policy: Policy;
  readonly directive: GraphQLDirective;
  readonly codec: PayloadCodec;
  readonly options: IdempotentOptions<Context, Transaction>;
}

/** The wrapped resolver: finds out which call it is, has it settled, and answers with what was stored. */
function protect<Context, Transaction>(
  config: FieldConfig,
  field: ProtectedField<Context, Transaction>,
): FieldConfig {
  const { options } = field;
  const resolve = config.resolve ?? defaultFieldResolver;

  async function idempotentResolver(...[root, args, context, info]: Parameters<typeof resolve>) {
    let call: Call | undefined;
    try {
      // `as`: the schema's author says by the type of `scope` what the context is
      const scope = scopeOf(
        typeof options.scope === "function" ? await options.scope(context as Context) : options.scope,
      );
      const key = keyOf(field, args, context as Context, info);
      const run = (tx: Transaction) => resolve(root, args, withTransaction(context, tx), info);
      if (!key) return await runUnprotected(field, run);
      call = callOf(field, scope, key, args);
      const settled = await settle(options.store, call, run);
      report(context, info, call, settled);
      return field.codec.decode(settled.record);
    } catch (error) {
      throw answerFor(error, call, info);
    }
  }

  return { ...config, resolve: idempotentResolver };
}

function keyOf<Context, Transaction>(
  { policy, directive, options }: ProtectedField<Context, Transaction>,
  args: Record<string, unknown>,
  context: Context,
  info: GraphQLResolveInfo,
): Key | undefined {
  return readKey(
    {
      directive: options.clientDirective ? clientKey(directive, info) : undefined,
      argument: policy.argument && valueAt(args, policy.argument),
      header: options.header?.(context),
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
  { place, policy, codec, options }: ProtectedField<Context, Transaction>,
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
    waitMs: options.waitMs ?? 10_000,
    errors: policy.errors,
    codec,
  };
}

async function runUnprotected<Context, Transaction>(
  { policy, directive, options }: ProtectedField<Context, Transaction>,
  run: (tx: Transaction) => unknown,
): Promise<unknown> {
  if (!policy.required) return options.store.write(run);
  const sources = [
    policy.argument && `in the argument ${policy.argument.join(".")}`,
    options.clientDirective && `on the field as @${directive.name}(key:)`,
    options.header && "in the Idempotency-Key header",
  ].filter(Boolean);
  throw new IdempotencyError(
    "IDEMPOTENCY_KEY_MISSING",
    `This mutation requires an idempotency key, ${sources.join(" or ")}, but none was sent. Send a UUID, the same one with every retry of this call.`,
  );
}

/**
 * A copy of the context for one call, as Apollo Server itself copies contexts: own properties and prototype
 * stay, and a `tx` of one call never shows in another.
 */
function withTransaction<Transaction>(context: unknown, tx: Transaction): TransactionContext<Transaction> {
  if (typeof context !== "object" || context === null) return { tx };
  return Object.assign(Object.create(Object.getPrototypeOf(context)), context, { tx });
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
 * The error that the client gets: this package's own and GraphQL errors as they are, with advice on retries;
 * all else is a fault that nobody meant to show, and is masked.
 */
function answerFor(error: unknown, call: Call | undefined, info: GraphQLResolveInfo): GraphQLError {
  if (error instanceof IdempotencyError) return error;
  const shown = error instanceof GraphQLError ? error : maskedFault(error);
  const advice: ErrorAdvice = call
    ? adviceOn(call, error)
    : { key: null, retryable: true, safeToUseNewKey: true };
  return new GraphQLError(shown.message, {
    nodes: shown.nodes ?? info.fieldNodes,
    source: shown.source,
    positions: shown.positions,
    // With its path set, the error passes through graphql-js as it is, and `originalError` stays the thrown one.
    path: shown.path ?? responsePathAsArray(info.path),
    originalError: error instanceof GraphQLError ? error : shown.originalError,
    extensions: { ...shown.extensions, idempotency: advice },
  });
}
