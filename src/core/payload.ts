import { inspect } from "node:util";
import { DevalueError, parse, stringify } from "devalue";
import { GraphQLError, type GraphQLErrorExtensions } from "graphql";
import { IdempotencyError } from "../errors.ts";
import type { Payload, PayloadFormat } from "../stores/store.ts";
import { isPlainRecord } from "./plain-record.ts";

/** How instances of a class of your own are stored and brought back. */
// biome-ignore lint/suspicious/noExplicitAny: a registry holds codecs of unrelated classes
export interface PayloadType<Instance = any> {
  readonly class: abstract new (
    // biome-ignore lint/suspicious/noExplicitAny: the constructor's parameters don't matter here
    ...parameters: any[]
  ) => Instance;
  /** The data of an instance, made of storable values. */
  encode(instance: Instance): unknown;
  /** An equal instance, from what `encode` returned. */
  decode(data: unknown): Instance;
}

export interface PayloadOptions {
  /** Classes that results may contain, by a name that stays the same as long as records live. @default {} */
  readonly types?: Readonly<Record<string, PayloadType>>;
  /** The largest stored result, in bytes of its encoded form. @default 1_048_576 */
  readonly maxBytes?: number;
}

/**
 * The codec of stored results. Lossless for JSON, and for Date, BigInt, Map, Set, Uint8Array, Buffer,
 * undefined, NaN, the infinities, -0 and registered classes. Plain JSON is stored as it is; all else in the
 * format of the package devalue. What can't survive is refused, with its place in the result.
 */
export interface PayloadCodec {
  /** @throws {IdempotencyError} IDEMPOTENCY_RESULT_UNSTORABLE */
  encode(result: unknown): Payload;
  /** @throws {IdempotencyError} IDEMPOTENCY_RESULT_UNSTORABLE */
  encodeError(error: GraphQLError): Payload;
  /**
   * The result, equal to the encoded one, and a new object at every call.
   * @throws {GraphQLError} the stored error, when that is the result
   * @throws {IdempotencyError} IDEMPOTENCY_RECORD_UNREADABLE, when the payload was tampered with
   */
  decode(payload: Payload): unknown;
}

/** @throws {TypeError} for a malformed registration in `types` */
export function createPayloadCodec({ types = {}, maxBytes = 1_048_576 }: PayloadOptions = {}): PayloadCodec {
  const reducers: Record<string, (value: unknown) => unknown> = {
    Buffer: (value) => Buffer.isBuffer(value) && [value.toString("base64")],
  };
  const revivers: Record<string, (data: [unknown]) => unknown> = {
    Buffer: ([base64]) => Buffer.from(String(base64), "base64"),
  };
  for (const [name, type] of Object.entries(types)) {
    checkType(name, type);
    // No form of devalue's own begins like this. The array keeps data that is falsy apart from "not mine".
    reducers[`types.${name}`] = (value) => value instanceof type.class && [type.encode(value)];
    revivers[`types.${name}`] = ([data]) => type.decode(data);
  }

  function encode(result: unknown): Payload {
    return encodeAs({ json: "json", devalue: "devalue" }, "result", result);
  }

  function encodeError({ message, extensions }: GraphQLError): Payload {
    return encodeAs({ json: "error", devalue: "devalue-error" }, "error", { message, extensions });
  }

  function encodeAs(
    formats: { readonly json: PayloadFormat; readonly devalue: PayloadFormat },
    name: string,
    value: unknown,
  ): Payload {
    try {
      if (isPlainJson(value, [name], [])) return withinLimit(formats.json, JSON.stringify(value));
      return withinLimit(formats.devalue, stringify(value, reducers));
    } catch (error) {
      if (error instanceof DevalueError) throw unstorable(name + error.path, describe(error.value), error);
      // The stack is at its end, or a string as long as it can be.
      if (error instanceof RangeError) throw unstorable(name, "nested too deeply, or too large", error);
      throw error;
    }
  }

  function withinLimit(format: PayloadFormat, payload: string): Payload {
    const bytes = Buffer.byteLength(payload);
    if (bytes <= maxBytes) return { format, payload };
    throw new IdempotencyError(
      "IDEMPOTENCY_RESULT_UNSTORABLE",
      `The result takes ${bytes} bytes, and at most ${maxBytes} can be stored for replays. Return less from the resolver (fields with resolvers of their own are not stored), or raise maxBytes.`,
    );
  }

  function decode({ format, payload }: Payload): unknown {
    const value = readable(() => {
      switch (format) {
        case "json":
          return JSON.parse(payload);
        case "devalue":
          return parse(payload, revivers);
        case "error":
          return storedError(JSON.parse(payload));
        case "devalue-error":
          return storedError(parse(payload, revivers));
        default:
          throw new Error(`No format of payloads is called ${format}.`);
      }
    });
    if (format === "error" || format === "devalue-error") throw value;
    return value;
  }

  return { encode, encodeError, decode };
}

function checkType(name: string, type: PayloadType): void {
  // devalue writes names as they are between quotes.
  if (JSON.stringify(name) !== `"${name}"`) {
    throw new TypeError(
      `types: a name has no quotes, backslashes or control characters, but one is ${JSON.stringify(name)}.`,
    );
  }
  const parts = [type?.class, type?.encode, type?.decode];
  if (parts.every((part) => typeof part === "function")) return;
  throw new TypeError(`types.${name} must be { class, encode, decode }, but it is ${inspect(type)}.`);
}

/** The error whose message and extensions were stored. */
function storedError({ message, extensions }: Record<string, unknown>): GraphQLError {
  if (typeof message !== "string" || typeof extensions !== "object") throw new TypeError("No stored error");
  return new GraphQLError(message, { extensions: extensions as GraphQLErrorExtensions | null });
}

function readable<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (cause) {
    throw new IdempotencyError(
      "IDEMPOTENCY_RECORD_UNREADABLE",
      "The stored result of this call can't be read, so it can't be replayed; running the call again could repeat its effect. Look the resource up instead.",
      { cause },
    );
  }
}

/**
 * Whether JSON keeps `value` exactly. Objects of other classes are not looked into: devalue knows them, or
 * refuses them.
 */
function isPlainJson(value: unknown, path: (string | number)[], ancestors: object[]): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0);
    case "function":
    case "symbol":
      throw unstorable(formatPath(path), describe(value));
    case "object":
      return value === null || isPlainObject(value, path, ancestors);
    default:
      return false; // undefined, bigint
  }
}

function isPlainObject(value: object, path: (string | number)[], ancestors: object[]): boolean {
  const isArray = Array.isArray(value);
  // An array of another class may have a toJSON of its own.
  if (isArray ? Object.getPrototypeOf(value) !== Array.prototype : !isPlainRecord(value)) return false;
  if (ancestors.includes(value))
    throw unstorable(formatPath(path), "a reference to an object that contains it");
  if (Object.getOwnPropertySymbols(value).length > 0) {
    throw unstorable(formatPath(path), "an object with symbols for keys");
  }
  ancestors.push(value);
  let plain = true;
  const keys = isArray ? value.keys() : Object.keys(value);
  for (const key of keys) {
    path.push(key);
    // `as`: arrays are read by number, records by string
    if (!isPlainJson((value as Record<string | number, unknown>)[key], path, ancestors)) plain = false;
    path.pop();
  }
  ancestors.pop();
  return plain;
}

function unstorable(place: string, what: string, cause?: unknown): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_RESULT_UNSTORABLE",
    `${place} is ${what}, which can't be stored for replays. Return plain data from the resolver, or register the class in \`types\`.`,
    { cause },
  );
}

function describe(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "symbol") return "a symbol";
  if (value instanceof Promise) return "a promise";
  const object = value as object; // `as`: devalue refuses no other primitives than symbols
  const name = object.constructor?.name;
  if (name && name !== "Object") return `an instance of ${name}`;
  return Object.hasOwn(object, "__proto__")
    ? 'an object with the key "__proto__"'
    : "an object with symbols for keys";
}

function formatPath([name, ...steps]: readonly (string | number)[]): string {
  return steps.reduce<string>(
    (place, step) => place + (typeof step === "number" ? `[${step}]` : `.${step}`),
    String(name),
  );
}
