import { hash } from "node:crypto";
import { IdempotencyError } from "../errors.ts";

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
 * What makes two calls the same call: SHA-256, in base64url, over the arguments in canonical form. Order of
 * keys and absent against undefined make no difference; null against absent does, as it does to a resolver.
 *
 * Values that JSON lacks have forms of their own: Date, BigInt, Map, Set, binary data, and instances of
 * classes with `toJSON` or a `toString` of their own (Decimal), each marked with its type's name.
 *
 * @throws {IdempotencyError} IDEMPOTENCY_ARGUMENT_UNSUPPORTED for a value without a form, such as an upload
 */
export function fingerprint(input: unknown, ignore: IgnoreTree = new Map()): string {
  return hash("sha256", canonical(input, ignore, "input"), "base64url");
}

// Strings are always quoted, so that a form like `Date(...)` or `1n` can't be mistaken for one.
function canonical(value: unknown, ignore: IgnoreTree | undefined, path: string): string {
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
      return value === null ? "null" : canonicalObject(value, ignore, path);
    default:
      throw unsupported(path, `a ${typeof value}`);
  }
}

function canonicalObject(value: object, ignore: IgnoreTree | undefined, path: string): string {
  if (Array.isArray(value)) {
    return `[${value.map((item, index) => canonical(item, ignore, `${path}[${index}]`)).join(",")}]`;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return canonicalInstance(value, path);
  // `as`: a plain object is a record of unknown values
  const record = value as Record<string, unknown>;
  let members = "";
  for (const key of Object.keys(record).sort()) {
    const below = ignore?.get(key);
    if (below === true || record[key] === undefined) continue;
    members += `${members && ","}${JSON.stringify(key)}:${canonical(record[key], below, `${path}.${key}`)}`;
  }
  return `{${members}}`;
}

function canonicalInstance(value: object, path: string): string {
  if (value instanceof Date) return `Date(${value.getTime()})`;
  if (ArrayBuffer.isView(value)) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    return `bytes(${bytes.toString("base64")})`;
  }
  if (value instanceof Map) return `Map(${sortedForms([...value], path)})`;
  if (value instanceof Set) return `Set(${sortedForms([...value], path)})`;
  const name = value.constructor?.name ?? "no class";
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return `${name}(${canonical(value.toJSON(), undefined, path)})`;
  }
  const text = "then" in value || "pipe" in value ? undefined : ownText(value);
  if (text === undefined) throw unsupported(path, `an instance of ${name}`);
  return `${name}(${JSON.stringify(text)})`;
}

function sortedForms(items: readonly unknown[], path: string): string {
  return items
    .map((item) => canonical(item, undefined, path))
    .sort()
    .join(",");
}

/** What `toString` tells, unless that is only the kind of object: "[object Upload]" says nothing of its content. */
function ownText(value: object): string | undefined {
  const text = typeof value.toString === "function" ? value.toString() : undefined;
  return text?.startsWith("[object ") ? undefined : text;
}

function unsupported(path: string, what: string): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_ARGUMENT_UNSUPPORTED",
    `The argument ${path.replace(/^input\./, "")} is ${what}, which can't be compared between retries. Nothing was run. The API's author can leave it out of the comparison with @idempotent(ignore: [...]).`,
  );
}
