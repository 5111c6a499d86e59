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
import { type Concurrent, defaultRules, type ErrorPolicy } from "../core/call.ts";
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
  resourceId: defaultRules.resourceId,
  retention: defaultRules.retention,
  ignore: [] as readonly string[],
  effects: "DATABASE",
  concurrent: defaultRules.concurrent,
  errors: defaultRules.errors,
  required: true,
} satisfies Record<string, unknown>;

/** What there is besides the field itself: other sources of keys, and a store with leases. */
export interface Capabilities {
  readonly header: boolean;
  readonly clientDirective: boolean;
  readonly leases: boolean;
}

/**
 * Checks the directive's arguments against the field they stand on. The arguments on the mutation type are the
 * defaults of those on the field.
 *
 * @param label the directive and the field, to begin messages with: "@idempotent on Mutation.createOrder"
 * @throws {Error} that names the field, what is wrong and the mend
 */
export function policyFor(
  field: GraphQLField<unknown, unknown>,
  written: { readonly ofType: DirectiveArguments; readonly ofField: DirectiveArguments },
  label: string,
  can: Capabilities,
  warn: (message: string) => void,
): Policy {
  return new PolicyReader(field, written, label, can, warn).read();
}

class PolicyReader {
  readonly #field: GraphQLField<unknown, unknown>;
  readonly #ofField: DirectiveArguments;
  readonly #given: Readonly<Record<keyof typeof defaults, unknown>>;
  readonly #label: string;
  readonly #can: Capabilities;
  readonly #warn: (message: string) => void;

  constructor(
    field: GraphQLField<unknown, unknown>,
    { ofType, ofField }: { readonly ofType: DirectiveArguments; readonly ofField: DirectiveArguments },
    label: string,
    can: Capabilities,
    warn: (message: string) => void,
  ) {
    this.#field = field;
    this.#ofField = ofField;
    this.#given = { ...defaults, ...ofType, ...ofField };
    this.#label = label;
    this.#can = can;
    this.#warn = warn;
  }

  read(): Policy {
    this.#checkNames();
    const retentionMs = this.#retentionMs();
    const effects = this.#effects();
    const argument = this.#keyArgument();
    const ignored = this.#ignoredPaths();
    return {
      argument,
      resourceId: this.#dottedPath("resourceId", this.#given.resourceId),
      retentionMs,
      ignore: ignoreTree(argument ? [argument.join("."), ...ignored] : ignored),
      effects,
      concurrent: this.#oneOf("concurrent", ["WAIT", "REJECT"]),
      errors: this.#oneOf("errors", ["RETRY", "REPLAY"]),
      required: this.#oneOf("required", [true, false]),
    };
  }

  #mistake(problem: string): Error {
    return new Error(`${this.#label}: ${problem}.`);
  }

  #checkNames(): void {
    for (const name of Object.keys(this.#given)) {
      if (name === "key") {
        throw this.#mistake(
          "key is for clients, on a field of their operation. In the schema, name the argument that carries the key: argument",
        );
      }
      if (!Object.hasOwn(defaults, name)) {
        throw this.#mistake(
          `there is no argument "${name}". The arguments are ${Object.keys(defaults).join(", ")}`,
        );
      }
    }
  }

  #retentionMs(): number {
    const { retention } = this.#given;
    const ms = retentionMs(retention);
    if (ms !== undefined) return ms;
    throw this.#mistake(`retention must be ${retentionForm}, but it is ${JSON.stringify(retention)}`);
  }

  #effects(): Policy["effects"] {
    const effects = this.#oneOf("effects", ["DATABASE", "EXTERNAL"]);
    if (effects === "EXTERNAL" && !this.#can.leases) {
      throw this.#mistake(
        "effects: EXTERNAL needs a store with leases, and this store has none. Use a store with leases, or effects: DATABASE",
      );
    }
    if (effects === "EXTERNAL" && this.#given.required === false) {
      throw this.#mistake(
        "effects: EXTERNAL needs a key for its lease, so required can't be false. Drop one of the two",
      );
    }
    return effects;
  }

  #oneOf<const Value>(name: keyof typeof defaults, allowed: readonly Value[]): Value {
    const value = this.#given[name];
    if (allowed.includes(value as Value)) return value as Value; // `as`: includes has just shown it
    throw this.#mistake(`${name} must be ${allowed.join(" or ")}, but it is ${JSON.stringify(value)}`);
  }

  #dottedPath(name: keyof typeof defaults, path: unknown): readonly string[] {
    const steps = typeof path === "string" ? path.split(".") : [""];
    if (!steps.includes("")) return steps;
    throw this.#mistake(
      `${name} must be a dotted path such as "order.id", but it is ${JSON.stringify(path)}`,
    );
  }

  #keyArgument(): readonly string[] | undefined {
    const steps = this.#dottedPath("argument", this.#given.argument);
    const path = steps.join(".");
    const found = this.#inputsOn(steps);
    const hasOtherSource = this.#can.header || this.#can.clientDirective;
    if (!found) {
      if ("argument" in this.#ofField || !hasOtherSource) {
        throw this.#mistake(
          `the field has no argument "${path}" to carry the key. Its arguments are ${this.#argumentNames()}. Add ${steps.at(-1)}: ID!, name another one by argument, or enable another source of keys (header, clientDirective)`,
        );
      }
      return undefined;
    }
    if (!found.slice(0, -1).every(({ type }) => isInputObjectType(getNullableType(type)))) {
      throw this.#mistake(`the key argument "${path}" stands in a list, but a call has one key`);
    }
    const type = found.at(-1)?.type;
    if (!type || !canBeKey(getNullableType(type))) {
      throw this.#mistake(`the key argument "${path}" must be an ID or a String, but its type is ${type}`);
    }
    if (!hasOtherSource) this.#warnIfNullable(path, found);
    return steps;
  }

  #warnIfNullable(path: string, found: readonly (GraphQLArgument | GraphQLInputField)[]): void {
    const nullable = found.filter(({ type }) => !isNonNullType(type));
    if (this.#given.required !== true || nullable.length === 0) return;
    const mends = nullable.map(({ name, type }) => `${name}: ${type}!`).join(" and ");
    this.#warn(
      `${this.#label}: the key argument "${path}" can be left out, although a key is required and has no other source. Make it ${mends}, so that clients learn of it before they call, or set required: false.`,
    );
  }

  #ignoredPaths(): readonly string[] {
    const { ignore } = this.#given;
    // A single value stands for a list of one, as GraphQL coerces it.
    const paths: readonly unknown[] = Array.isArray(ignore) ? ignore : [ignore];
    return paths.map((path) => {
      const steps = this.#dottedPath("ignore", path);
      if (this.#inputsOn(steps)) return steps.join(".");
      throw this.#mistake(
        `ignore names "${path}", which is no argument of the field and no input field below one. Its arguments are ${this.#argumentNames()}`,
      );
    });
  }

  /** The argument and the input fields along a path, or undefined when it leads nowhere. */
  #inputsOn(steps: readonly string[]): readonly (GraphQLArgument | GraphQLInputField)[] | undefined {
    const found: (GraphQLArgument | GraphQLInputField)[] = [];
    for (const step of steps) {
      const previous = found.at(-1);
      const next = previous
        ? fieldBelow(previous.type, step)
        : this.#field.args.find((argument) => argument.name === step);
      if (!next) return undefined;
      found.push(next);
    }
    return found;
  }

  #argumentNames(): string {
    return this.#field.args.map(({ name }) => name).join(", ") || "none";
  }
}

/** Scalars of the API's own, such as UUID, may be strings: what they are shows only when one arrives. */
function canBeKey(type: GraphQLInputType): boolean {
  if (!isScalarType(type)) return false;
  return !isSpecifiedScalarType(type) || type.name === "ID" || type.name === "String";
}

function fieldBelow(type: GraphQLInputType, name: string): GraphQLInputField | undefined {
  const named = getNamedType(type);
  return isInputObjectType(named) ? named.getFields()[name] : undefined;
}
