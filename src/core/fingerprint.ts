import { hash } from "node:crypto";
import { types } from "node:util";
import { IdempotencyError } from "../errors.ts";
import { isPlainRecord } from "./plain-record.ts";

/** What makes two calls the same call, as a new record stores it, and compared with what a record has stored. */
export interface Fingerprint {
  /** Begins with the version of its form: "2:". Version 1 had no prefix. */
  readonly current: string;
  /** Whether a record with this fingerprint is one of the same arguments. */
  matches(stored: string): boolean;
}

/** The current version of stored fingerprints. */
export const versionPrefix = "2:";

/** Whether a stored fingerprint has a form that this version of the package can compare. */
export function isComparable(stored: string): boolean {
  return stored.startsWith(versionPrefix) || isVersion1(stored);
}

/** The fingerprint of a call that is told by its input's value alone. */
export function fingerprintOf(input: unknown, ignore: IgnoreTree): Fingerprint {
  const current = versionPrefix + fingerprint(input, ignore);
  return {
    current,
    matches: (stored) =>
      stored === current || (isVersion1(stored) && stored === fingerprintVersion1(input, ignore)),
  };
}

/** Fingerprints of version 1 contain the names of classes and the values behind defaults and enums. */
export function fingerprintVersion1(input: unknown, ignore: IgnoreTree): string {
  return digest(new CanonicalForm((value) => value.constructor?.name ?? "no class").of(input, ignore));
}

export function isVersion1(stored: string): boolean {
  return !stored.includes(":");
}

/** Dotted paths as a tree; `true` marks what is left out of the fingerprint. */
export type IgnoreTree = Map<string, IgnoreTree | true>;

/** Makes a tree of dotted paths. A path through a list means each of its items. */
export function ignoreTree(paths: readonly string[]): IgnoreTree {
  const root: IgnoreTree = new Map();
  for (const path of paths) plant(root, path.split("."));
  return root;
}

function plant(node: IgnoreTree, [step = "", ...below]: readonly string[]): void {
  if (below.length === 0) {
    node.set(step, true);
    return;
  }
  const next = node.get(step) ?? new Map();
  if (next === true) return; // a shorter path covers this one
  node.set(step, next);
  plant(next, below);
}

/**
 * SHA-256, in base64url, over a value in canonical form. Order of keys and absent against undefined make no
 * difference; null against absent does, as it does to a resolver.
 *
 * Values that JSON lacks have forms of their own: Date, BigInt, Map, Set, binary data, and instances of classes
 * with `toJSON` or a `toString` of their own (Decimal). Names of classes don't count: a bundler may change them.
 *
 * @throws {IdempotencyError} IDEMPOTENCY_ARGUMENT_UNSUPPORTED for a value without a form, such as an upload
 */
export function fingerprint(input: unknown, ignore?: IgnoreTree): string {
  return digest(canonicalForm(input, ignore));
}

/** The text that {@link fingerprint} hashes: equal for equal values, and for no others. */
export function canonicalForm(input: unknown, ignore?: IgnoreTree): string {
  return new CanonicalForm((_value, form) => form).of(input, ignore);
}

export function digest(form: string): string {
  return hash("sha256", form, "base64url");
}

/** Deeper input than this would end the stack in one part of a server or another. */
export const maxDepth = 500;

export function nestedTooDeeply(): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_ARGUMENT_UNSUPPORTED",
    `The arguments are nested more than ${maxDepth} levels deep, and can't be compared between retries. Nothing was run. Send them in a flatter form.`,
  );
}

class CanonicalForm {
  readonly #path: (string | number)[] = [];
  /** What marks an instance of a class, given the kind of its form: "json" or "text". */
  readonly #mark: (value: object, form: string) => string;

  constructor(mark: (value: object, form: string) => string) {
    this.#mark = mark;
  }

  // Strings are always quoted, so that a form like `Date(...)` or `1n` can't be mistaken for one.
  of(value: unknown, ignore?: IgnoreTree): string {
    switch (typeof value) {
      case "string":
        return JSON.stringify(value);
      case "number":
        return Number.isFinite(value) ? JSON.stringify(value) : String(value);
      case "boolean":
      case "undefined":
        return String(value);
      case "bigint":
        return `${value}n`;
      case "object":
        return value === null ? "null" : this.#ofObject(value, ignore);
      default:
        throw this.#unsupported(`a ${typeof value}`);
    }
  }

  #ofObject(value: object, ignore: IgnoreTree | undefined): string {
    if (this.#path.length > maxDepth) throw nestedTooDeeply();
    if (Array.isArray(value)) {
      return `[${value.map((item, index) => this.#below(index, item, ignore)).join(",")}]`;
    }
    if (!isPlainRecord(value)) return this.#ofInstance(value);
    let members = "";
    for (const key of Object.keys(value).sort()) {
      const below = ignore?.get(key);
      if (below === true || value[key] === undefined) continue;
      members += `${members && ","}${JSON.stringify(key)}:${this.#below(key, value[key], below)}`;
    }
    return `{${members}}`;
  }

  #below(step: string | number, value: unknown, ignore?: IgnoreTree): string {
    this.#path.push(step);
    const form = this.of(value, ignore);
    this.#path.pop();
    return form;
  }

  #ofInstance(value: object): string {
    if (types.isDate(value)) return `Date(${value.getTime()})`;
    if (ArrayBuffer.isView(value)) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      return `bytes(${bytes.toString("base64")})`;
    }
    if (types.isMap(value)) return `Map(${this.#sorted([...value])})`;
    if (types.isSet(value)) return `Set(${this.#sorted([...value])})`;
    if ("toJSON" in value && typeof value.toJSON === "function") {
      return `${this.#mark(value, "json")}(${this.#below("toJSON()", value.toJSON())})`;
    }
    const text = "then" in value || "pipe" in value ? undefined : ownText(value);
    if (text === undefined)
      throw this.#unsupported(`an instance of ${value.constructor?.name ?? "no class"}`);
    return `${this.#mark(value, "text")}(${JSON.stringify(text)})`;
  }

  #sorted(items: readonly unknown[]): string {
    return items
      .map((item, index) => this.#below(index, item))
      .sort()
      .join(",");
  }

  #unsupported(what: string): IdempotencyError {
    const place = this.#path.reduce<string>(
      (path, step) =>
        typeof step === "number"
          ? `${path}[${step}]`
          : path && step !== "toJSON()"
            ? `${path}.${step}`
            : path || step,
      "",
    );
    return new IdempotencyError(
      "IDEMPOTENCY_ARGUMENT_UNSUPPORTED",
      `The argument ${place || "input"} is ${what}, which can't be compared between retries. Nothing was run. The API's author can leave it out of the comparison with @idempotent(ignore: [...]).`,
    );
  }
}

/** What `toString` tells, unless that is only the kind of object: "[object Upload]" says nothing of its content. */
function ownText(value: object): string | undefined {
  const text = typeof value.toString === "function" ? value.toString() : undefined;
  return text?.startsWith("[object ") ? undefined : text;
}
