import { inspect } from "node:util";
import {
  buildASTSchema,
  type GraphQLDirective,
  GraphQLSchema,
  isInterfaceType,
  isObjectType,
  parse,
} from "graphql";
import { defaultRules } from "../core/call.ts";
import { createPayloadCodec, type PayloadCodec, type PayloadOptions } from "../core/payload.ts";
import { SHARED } from "../core/scope.ts";
import {
  checkOption,
  checkOptions,
  checkPositive,
  checkStore,
  isFunction,
  isStringArray,
} from "../options.ts";
import type { Store } from "../stores/store.ts";
import { directiveOn } from "./annotation.ts";
import { refuseClientKey } from "./client-key.ts";
import { withMutationFields } from "./mutation-fields.ts";
import { policyFor } from "./policy.ts";
import { type ProtectedField, protect } from "./protected-resolver.ts";

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
  /**
   * `effects: EXTERNAL`: how long after a crash, in milliseconds, a retry takes over. A running call renews its
   * lease by itself. @default 30_000
   */
  readonly leaseMs?: number;
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

const knownOptions: readonly (keyof IdempotentOptions<never, never>)[] = [
  "store",
  "scope",
  "header",
  "clientDirective",
  "name",
  "requireOn",
  "except",
  "waitMs",
  "leaseMs",
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
  check(options);
  const codec = createPayloadCodec(options);
  const name = options.name ?? "idempotent";
  const typeDefs = directiveSdl(name, options.clientDirective === true);
  // `as`: the definition that was just written
  const directive = buildASTSchema(parse(typeDefs)).getDirective(name) as GraphQLDirective;
  return { typeDefs, transform: (schema) => transform(schema, directive, codec, options) };
}

function check<Context, Transaction>(options: IdempotentOptions<Context, Transaction>): void {
  const caller = "idempotent";
  checkOptions(caller, options, knownOptions);
  checkStore(caller, options.store);
  if (typeof options.scope !== "function" && options.scope !== SHARED) {
    throw new TypeError(
      `idempotent() requires a scope: a function of the context that says whose call it is, such as (context) => context.customer.id, or SHARED if all clients are to share their keys; but it is ${inspect(options.scope)}.`,
    );
  }
  const isName = (value: unknown) => typeof value === "string" && /^[A-Za-z][A-Za-z0-9_]*$/.test(value);
  checkOption(caller, options, "name", "a name of letters, digits and underscores", isName);
  checkOption(caller, options, "header", "a function of the context", isFunction);
  checkOption(caller, options, "clientDirective", "true or false", (value) => typeof value === "boolean");
  checkOption(caller, options, "requireOn", '"all-mutations"', (value) => value === "all-mutations");
  checkOption(caller, options, "except", "an array of names of mutations", isStringArray);
  checkOption(caller, options, "warn", "a function", isFunction);
  const { waitMs, leaseMs, maxBytes } = options;
  checkPositive(caller, { waitMs, leaseMs, maxBytes });
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
  codec: PayloadCodec,
  options: IdempotentOptions<Context, Transaction>,
): GraphQLSchema {
  refuseElsewhere(schema, directive.name);
  const mutation = schema.getMutationType();
  const ofType = mutation && directiveOn(mutation, directive.name);
  const except = new Set(options.except);
  const can = {
    header: options.header !== undefined,
    clientDirective: options.clientDirective === true,
    leases: options.store.leases !== undefined,
  };
  const warn = options.warn ?? ((message: string) => process.emitWarning(message));
  const forEachField: Omit<ProtectedField<Context, Transaction>, "coordinate" | "policy" | "rules"> = {
    store: options.store,
    scope: options.scope,
    header: options.header,
    clientDirective: options.clientDirective ? directive : undefined,
  };
  const { waitMs = defaultRules.waitMs, leaseMs = defaultRules.leaseMs } = options;

  const transformed = withMutationFields(schema, (config, fieldName) => {
    const coordinate = `${mutation?.name}.${fieldName}`;
    const field = mutation?.getFields()[fieldName];
    const ofField = field && directiveOn(field, directive.name);
    const excepted = except.delete(fieldName);
    if (excepted && ofField) {
      throw new Error(
        `@${directive.name} on ${coordinate}: the field is annotated and excepted. Drop one of the two.`,
      );
    }
    if (!field || excepted || !(ofType || ofField)) {
      if (options.requireOn === "all-mutations" && !excepted) throw unannotated(coordinate, directive.name);
      return options.clientDirective ? refuseClientKey(config, coordinate, directive) : config;
    }
    const label = `@${directive.name} on ${coordinate}`;
    const policy = policyFor(field, { ofType: ofType ?? {}, ofField: ofField ?? {} }, label, can, warn);
    const { resourceId, retentionMs, concurrent, errors } = policy;
    const rules = { resourceId, retentionMs, concurrent, errors, waitMs, leaseMs, codec };
    return protect(config, { ...forEachField, coordinate: `Mutation.${fieldName}`, policy, rules });
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

function unannotated(coordinate: string, name: string): Error {
  return new Error(
    `${coordinate} has no @${name}, and requireOn: "all-mutations" wants it on every mutation. Annotate the field, or add it to except if it is idempotent by nature.`,
  );
}

/** Code-first schemas don't know the directive yet; clients can only use what the schema defines. */
function withDirective(schema: GraphQLSchema, directive: GraphQLDirective): GraphQLSchema {
  if (schema.getDirective(directive.name)) return schema;
  const config = schema.toConfig();
  return new GraphQLSchema({ ...config, directives: [...config.directives, directive] });
}
