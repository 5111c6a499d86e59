import {
  type ConstDirectiveNode,
  type DirectiveNode,
  defaultFieldResolver,
  type GraphQLDirective,
  type GraphQLFieldConfig,
  type GraphQLResolveInfo,
  getDirectiveValues,
} from "graphql";
import { IdempotencyError } from "../errors.ts";

/**
 * The key that a client wrote on a field of its operation, `createOrder(…) @idempotent(key: $key)`: the form
 * of Shopify's Admin API. Selections of one response name are one call, so their keys must agree.
 *
 * @throws {IdempotencyError} IDEMPOTENCY_KEY_INVALID
 */
export function clientKey(directive: GraphQLDirective, info: GraphQLResolveInfo): unknown {
  let key: unknown;
  for (const node of info.fieldNodes) {
    const written = node.directives?.find(({ name }) => name.value === directive.name);
    if (!written) continue;
    refuseOtherArguments(written);
    const value = getDirectiveValues(directive, node, info.variableValues)?.key;
    if (key != null && value != null && value !== key) {
      throw new IdempotencyError(
        "IDEMPOTENCY_KEY_INVALID",
        `The operation selects ${String(info.path.key)} more than once, with different keys, but selections of one name are one call. Give each call an alias of its own.`,
      );
    }
    key ??= value;
  }
  return key;
}

function refuseOtherArguments(written: DirectiveNode | ConstDirectiveNode): void {
  const other = written.arguments?.find(({ name }) => name.value !== "key");
  if (!other) return;
  throw new IdempotencyError(
    "IDEMPOTENCY_KEY_INVALID",
    `A client may give @${written.name.value} a key and nothing else, but gave "${other.name.value}". How a mutation is protected is for its schema to say: leave the argument out.`,
  );
}

/** A client that writes a key on a mutation without protection must not believe in it. */
export function refuseClientKey<Config extends GraphQLFieldConfig<unknown, unknown>>(
  config: Config,
  coordinate: string,
  directive: GraphQLDirective,
): Config {
  const resolve = config.resolve ?? defaultFieldResolver;

  function unprotectedResolver(...[root, args, context, info]: Parameters<typeof resolve>) {
    if (
      info.fieldNodes.some(({ directives }) => directives?.some(({ name }) => name.value === directive.name))
    ) {
      throw new IdempotencyError(
        "IDEMPOTENCY_KEY_INVALID",
        `${coordinate} takes no idempotency key, so @${directive.name} would not protect it. Nothing was run. Leave the directive out.`,
      );
    }
    return resolve(root, args, context, info);
  }

  return { ...config, resolve: unprotectedResolver };
}
