import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputType,
  getNamedType,
  getNullableType,
  isInputObjectType,
  isNonNullType,
  isScalarType,
  isSpecifiedScalarType,
} from "graphql";
import type { Concurrent, ErrorPolicy } from "../core/call.ts";
import { type IgnoreTree, ignoreTree } from "../core/fingerprint.ts";
import { retentionForm, retentionMs } from "../core/retention.ts";
import type { DirectiveArguments } from "./annotation.ts";

/** What the schema's author asked for on one field, checked and ready to be followed. */
export interface Policy {
  /** Steps of the path to the key argument; undefined when the field has none. */
  readonly argument: readonly string[] | undefined;
  readonly resourceId: readonly string[];
  readonly retentionMs: number;
  /** What the fingerprint leaves out: the key argument and `ignore`. */
  readonly ignore: IgnoreTree;
  readonly effects: "DATABASE" | "EXTERNAL";
  readonly concurrent: Concurrent;
  readonly errors: ErrorPolicy;
  readonly required: boolean;
}

const defaults = {
  argument: "idempotencyKey",
  resourceId: "id",
  retention: "24h",
  ignore: [] as readonly string[],
  effects: "DATABASE",
  concurrent: "WAIT",
  errors: "RETRY",
  required: true,
} satisfies Record<string, unknown>;

/** What there is besides the field itself: other sources of keys, and a store with leases. */
export interface Capabilities {
  readonly header: boolean;
  readonly clientDirective: boolean;
  readonly leases: boolean;
}

/**
 * Checks the directive's arguments against the field they stand on. What stands on the mutation type is the
 * default of what stands on the field.
 *
 * @param place the directive and the field, to begin messages with: "@idempotent on Mutation.createOrder"
 * @throws {Error} that names the field, what is wrong and the mend
 */
export function policyFor(
  field: GraphQLField<unknown, unknown>,
  { ofType, ofField }: { readonly ofType: DirectiveArguments; readonly ofField: DirectiveArguments },
  place: string,
  can: Capabilities,
  warn: (message: string) => void,
): Policy {
  const written = { ...ofType, ...ofField };
  checkNames(written, place);
  const given = { ...defaults, ...written };
  const keptMs = retentionMs(given.retention);
  if (keptMs === undefined) {
    throw fault(place, `retention must be ${retentionForm}, but it is ${JSON.stringify(given.retention)}`);
  }
  const effects = effectsOf(given, place, can);
  const argument = keyArgument(field, given, ofField, place, can, warn);
  const ignored = ignoredPaths(field, given.ignore, place);
  return {
    argument,
    resourceId: dottedPath(place, "resourceId", given.resourceId),
    retentionMs: keptMs,
    ignore: ignoreTree(argument ? [argument.join("."), ...ignored] : ignored),
    effects,
    concurrent: oneOf(place, "concurrent", given.concurrent, ["WAIT", "REJECT"]),
    errors: oneOf(place, "errors", given.errors, ["RETRY", "REPLAY"]),
    required: oneOf(place, "required", given.required, [true, false]),
  };
}

function fault(place: string, problem: string): Error {
  return new Error(`${place}: ${problem}.`);
}

function checkNames(written: DirectiveArguments, place: string): void {
  for (const name of Object.keys(written)) {
    if (name === "key") {
      throw fault(
        place,
        "key is for clients, on a field of their operation. In the schema, name the argument that carries the key: argument",
      );
    }
    if (!Object.hasOwn(defaults, name)) {
      throw fault(
        place,
        `there is no argument "${name}". The arguments are ${Object.keys(defaults).join(", ")}`,
      );
    }
  }
}

function effectsOf(
  given: { readonly effects: unknown; readonly required: unknown },
  place: string,
  can: Capabilities,
): Policy["effects"] {
  const effects = oneOf(place, "effects", given.effects, ["DATABASE", "EXTERNAL"] as const);
  if (effects === "EXTERNAL" && !can.leases) {
    throw fault(
      place,
      "effects: EXTERNAL needs a store with leases, and this store has none. Use a store with leases, or effects: DATABASE",
    );
  }
  if (effects === "EXTERNAL" && given.required === false) {
    throw fault(
      place,
      "effects: EXTERNAL needs a key for its lease, so required can't be false. Drop one of the two",
    );
  }
  return effects;
}

function oneOf<Value>(place: string, name: string, value: unknown, allowed: readonly Value[]): Value {
  if (allowed.includes(value as Value)) return value as Value; // `as`: includes has just shown it
  throw fault(place, `${name} must be ${allowed.join(" or ")}, but it is ${JSON.stringify(value)}`);
}

function dottedPath(place: string, name: string, path: unknown): readonly string[] {
  const steps = typeof path === "string" ? path.split(".") : [""];
  if (!steps.includes("")) return steps;
  throw fault(place, `${name} must be a dotted path such as "order.id", but it is ${JSON.stringify(path)}`);
}

function keyArgument(
  field: GraphQLField<unknown, unknown>,
  given: { readonly argument: unknown; readonly required: unknown },
  ofField: DirectiveArguments,
  place: string,
  can: Capabilities,
  warn: (message: string) => void,
): readonly string[] | undefined {
  const steps = dottedPath(place, "argument", given.argument);
  const path = steps.join(".");
  const found = inputsOn(field, steps);
  const hasOtherSource = can.header || can.clientDirective;
  if (!found) {
    if ("argument" in ofField || !hasOtherSource) {
      throw fault(
        place,
        `the field has no argument "${path}" to carry the key. Its arguments are ${nameList(field)}. Add ${steps.at(-1)}: ID!, name another one by argument, or enable another source of keys (header, clientDirective)`,
      );
    }
    return undefined;
  }
  if (!found.slice(0, -1).every(({ type }) => isInputObjectType(getNullableType(type)))) {
    throw fault(place, `the key argument "${path}" stands in a list, but a call has one key`);
  }
  const type = found.at(-1)?.type;
  if (!type || !canBeKey(getNullableType(type))) {
    throw fault(place, `the key argument "${path}" must be an ID or a String, but its type is ${type}`);
  }
  const nullable = found.filter(({ type }) => !isNonNullType(type));
  if (given.required === true && !hasOtherSource && nullable.length > 0) {
    const mends = nullable.map(({ name, type }) => `${name}: ${type}!`).join(" and ");
    warn(
      `${place}: the key argument "${path}" can be left out, although a key is required and has no other source. Make it ${mends}, so that clients learn of it before they call, or set required: false.`,
    );
  }
  return steps;
}

/** Scalars of the API's own, such as UUID, may be strings: what they are shows only when one arrives. */
function canBeKey(type: GraphQLInputType): boolean {
  if (!isScalarType(type)) return false;
  return !isSpecifiedScalarType(type) || type.name === "ID" || type.name === "String";
}

function ignoredPaths(
  field: GraphQLField<unknown, unknown>,
  ignore: unknown,
  place: string,
): readonly string[] {
  // A single value stands for a list of one, as GraphQL coerces it.
  const paths: readonly unknown[] = Array.isArray(ignore) ? ignore : [ignore];
  return paths.map((path) => {
    const steps = dottedPath(place, "ignore", path);
    if (inputsOn(field, steps)) return steps.join(".");
    throw fault(
      place,
      `ignore names "${path}", which is no argument of the field and no input field below one. Its arguments are ${nameList(field)}`,
    );
  });
}

/** The argument and the input fields along a path, or undefined when it leads nowhere. */
function inputsOn(
  field: GraphQLField<unknown, unknown>,
  steps: readonly string[],
): readonly (GraphQLArgument | GraphQLInputField)[] | undefined {
  const found: (GraphQLArgument | GraphQLInputField)[] = [];
  for (const step of steps) {
    const previous = found.at(-1);
    const next = previous
      ? fieldBelow(previous.type, step)
      : field.args.find((argument) => argument.name === step);
    if (!next) return undefined;
    found.push(next);
  }
  return found;
}

function fieldBelow(type: GraphQLInputType, name: string): GraphQLInputField | undefined {
  const named = getNamedType(type);
  return isInputObjectType(named) ? named.getFields()[name] : undefined;
}

function nameList(field: GraphQLField<unknown, unknown>): string {
  return field.args.map(({ name }) => name).join(", ") || "none";
}
