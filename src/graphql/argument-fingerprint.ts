import {
  type GraphQLEnumType,
  type GraphQLInputType,
  getNullableType,
  isEnumType,
  isInputObjectType,
  isListType,
} from "graphql";
import {
  canonicalForm,
  digest,
  type Fingerprint,
  fingerprintVersion1,
  type IgnoreTree,
  isVersion1,
  maxDepth,
  nestedTooDeeply,
  versionPrefix,
} from "../core/fingerprint.ts";
import { isPlainRecord } from "../core/plain-record.ts";

/** An argument or an input field. */
interface Input {
  readonly type: GraphQLInputType;
  readonly defaultValue?: unknown;
}

/** Arguments by their name, or the fields of an input type. */
export type Inputs = Readonly<Record<string, Input>>;

/** By coordinate (`quantity`, `Line.quantity`), a short digest of each default value that a call met. */
type Defaults = ReadonlyMap<string, string>;

/** Decides whether a member counts as not sent. It is asked only for members that may. */
type LeavesOut = (coordinate: string, value: unknown, defaultForm: string | undefined) => boolean;

/**
 * The fingerprint of a field's arguments: what the client asked for, whatever the schema's defaults were then.
 *
 * graphql-js has put the defaults in before a resolver sees its arguments, and how a variable was written can't be
 * told any more. So values that equal the schema's default are left out of the hash, and the fingerprint names the
 * defaults that it was made with:
 *
 *     2:<hash>[:<coordinate>=<digest>,…]
 *
 * A call under another schema is hashed with the record's defaults left out where the value equals one. A value that
 * equals only the new schema's default may have been sent or not: both are tried. Enums count by name.
 */
export class ArgumentFingerprints {
  readonly #args: Inputs;
  readonly #ignore: IgnoreTree;
  readonly #defaultForms = new Map<Input, Map<IgnoreTree | undefined, { form: string; digest: string }>>();

  constructor(args: Inputs, ignore: IgnoreTree) {
    this.#args = args;
    this.#ignore = ignore;
  }

  of(args: Record<string, unknown>): Fingerprint {
    const defaults = new Map<string, string>();
    const current = this.#stored(args, defaults);
    return {
      current,
      matches: (stored) => {
        if (stored === current) return true;
        if (isVersion1(stored)) return stored === fingerprintVersion1(args, this.#ignore);
        return stored.startsWith(versionPrefix) && this.#matchesOlderSchema(args, stored);
      },
    };
  }

  #stored(args: Record<string, unknown>, defaults: Map<string, string>): string {
    const sent = this.#sentMembers(args, "", this.#args, this.#ignore, {
      depth: 0,
      defaults,
      leavesOut: equalsDefault,
    });
    const named = [...defaults].map(([coordinate, of]) => `${coordinate}=${of}`);
    return `${versionPrefix}${digest(canonicalForm(sent))}${named.length > 0 ? `:${named.join(",")}` : ""}`;
  }

  #matchesOlderSchema(args: Record<string, unknown>, stored: string): boolean {
    const [, expected, written = ""] = stored.split(":");
    const recorded: Defaults = new Map(
      written.split(",").map((entry) => entry.split("=") as [string, string]), // `as`: as it was joined
    );
    const matchesWith = (choice: number): { readonly matches: boolean; readonly ambiguous: number } => {
      const { sent, ambiguous } = this.#sentUnder(args, recorded, choice);
      return { matches: digest(canonicalForm(sent)) === expected, ambiguous };
    };
    const allOmitted = matchesWith(0);
    if (allOmitted.matches) return true;
    // Of a long list, only the first few values are tried one by one, besides all of them together.
    const last = 2 ** Math.min(allOmitted.ambiguous + 1, 6) - 1;
    for (let choice = 1; choice <= last; choice++) {
      if (matchesWith(choice).matches) return true;
    }
    return matchesWith(-1).matches;
  }

  /**
   * What the client sent, seen with the recorded defaults. `choice` has bits for values that may have been sent or
   * not, 1 for sent: the lowest for all whose default is new, as one, since they were probably unknown; the others
   * for those whose default was changed, in the order of the walk.
   */
  #sentUnder(
    args: Record<string, unknown>,
    recorded: Defaults,
    choice: number,
  ): { readonly sent: unknown; readonly ambiguous: number } {
    let ambiguous = 0;
    const sent = this.#sentMembers(args, "", this.#args, this.#ignore, {
      depth: 0,
      defaults: undefined,
      leavesOut: (coordinate, value, form) => {
        const own = canonicalForm(value);
        const then = recorded.get(coordinate);
        if (then !== undefined && shortDigest(own) === then) return true;
        if (form === undefined || form !== own) return false;
        if (then === undefined) return (choice & 1) === 0;
        ambiguous += 1;
        return ((choice >> Math.min(ambiguous, 31)) & 1) === 0; // shifts count modulo 32
      },
    });
    return { sent, ambiguous };
  }

  #sentMembers(
    record: Record<string, unknown>,
    prefix: string,
    inputs: Inputs,
    ignore: IgnoreTree | undefined,
    walk: Walk,
  ): Record<string, unknown> {
    if (walk.depth > maxDepth) throw nestedTooDeeply();
    const sent: Record<string, unknown> = Object.create(null);
    for (const name of Object.keys(record)) {
      const below = ignore?.get(name);
      if (below === true) continue;
      const input = Object.hasOwn(inputs, name) ? inputs[name] : undefined;
      // Wrappers around the schema may have added members of their own.
      sent[name] = input ? this.#sent(record[name], input.type, below, walk) : record[name];
    }
    for (const name of Object.keys(inputs)) {
      const below = ignore?.get(name);
      const input = inputs[name];
      if (below === true || !input) continue;
      const coordinate = prefix + name;
      const ofDefault = input.defaultValue === undefined ? undefined : this.#defaultOf(input, below);
      if (ofDefault) walk.defaults?.set(coordinate, ofDefault.digest);
      if (sent[name] !== undefined && walk.leavesOut(coordinate, sent[name], ofDefault?.form))
        delete sent[name];
    }
    return sent;
  }

  #sent(value: unknown, type: GraphQLInputType, ignore: IgnoreTree | undefined, walk: Walk): unknown {
    if (value === null || value === undefined) return value;
    const nullable = getNullableType(type);
    if (isListType(nullable)) {
      return Array.isArray(value)
        ? value.map((item) => this.#sent(item, nullable.ofType, ignore, walk))
        : value;
    }
    if (isEnumType(nullable)) return nameOf(value, nullable);
    if (!isInputObjectType(nullable) || typeof value !== "object" || !isPlainRecord(value)) return value;
    const deeper = { ...walk, depth: walk.depth + 1 };
    return this.#sentMembers(value, `${nullable.name}.`, nullable.getFields(), ignore, deeper);
  }

  /** The form of a default value, and its digest; undefined for a value that can't be compared. */
  #defaultOf(input: Input, ignore: IgnoreTree | undefined): { form: string; digest: string } | undefined {
    const known = this.#defaultForms.get(input)?.get(ignore);
    if (known) return known;
    const walk = { depth: 0, defaults: undefined, leavesOut: equalsDefault };
    try {
      const form = canonicalForm(this.#sent(input.defaultValue, input.type, ignore, walk));
      const made = { form, digest: shortDigest(form) };
      this.#defaultForms.set(input, (this.#defaultForms.get(input) ?? new Map()).set(ignore, made));
      return made;
    } catch {
      return undefined;
    }
  }
}

interface Walk {
  readonly depth: number;
  /** Collects the defaults that the call met. */
  readonly defaults: Map<string, string> | undefined;
  readonly leavesOut: LeavesOut;
}

const equalsDefault: LeavesOut = (_coordinate, value, form) =>
  form !== undefined && canonicalForm(value) === form;

/** Long enough to tell one default from the next. */
function shortDigest(form: string): string {
  return digest(form).slice(0, 8);
}

/** Values behind the names may change with every build. */
function nameOf(value: unknown, type: GraphQLEnumType): unknown {
  try {
    return type.serialize(value);
  } catch {
    return value; // a wrapper around the schema has put it there
  }
}
