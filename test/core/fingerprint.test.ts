import { PassThrough } from "node:stream";
import { makeExecutableSchema } from "@graphql-tools/schema";
import fc from "fast-check";
import { GraphQLScalarType, graphql, Kind } from "graphql";
import { collectOutcomes, idempotent, SHARED } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { fingerprint, ignoreTree } from "../../src/core/fingerprint.ts";
import { openEntries } from "../stores/sqlite/entries-database.ts";

/** Stands for the classes of decimals.js, big.js and their like: no JSON, but a text of its own. */
class Decimal {
  readonly #digits: string;

  constructor(digits: string) {
    this.#digits = digits;
  }

  toString(): string {
    return this.#digits;
  }
}

/** Stands for classes such as Temporal's and Luxon's. */
class Day {
  readonly #iso: string;

  constructor(iso: string) {
    this.#iso = iso;
  }

  toJSON(): string {
    return this.#iso;
  }
}

const key = fc.oneof(fc.string(), fc.constantFrom("id", "__proto__", "constructor", "toString", "1"));
const { value } = fc.letrec<{ value: unknown; leaf: unknown }>((tie) => ({
  leaf: fc.oneof(
    fc.string({ unit: "binary" }),
    fc.double().map((number) => number + 0), // -0 and 0 are one amount
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.bigInt(),
    fc.date(),
    fc.uint8Array({ maxLength: 4 }),
    fc.integer().map((number) => new Decimal(String(number))),
    fc.integer().map((number) => new Day(String(number))),
  ),
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    tie("leaf"),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(key, tie("value"), { maxKeys: 4, noNullPrototype: false }),
    fc.array(fc.tuple(tie("leaf"), tie("value")), { maxLength: 3 }).map((pairs) => new Map(pairs)),
    fc.array(tie("value"), { maxLength: 3 }).map((items) => new Set(items)),
  ),
}));

function isRecord(candidate: unknown): candidate is Record<string, unknown> {
  if (typeof candidate !== "object" || candidate === null) return false;
  const prototype = Object.getPrototypeOf(candidate);
  return prototype === Object.prototype || prototype === null;
}

/** An object as JSON.parse makes it: with any key, `__proto__` too. */
function recordOf(members: Iterable<readonly [string, unknown]>): Record<string, unknown> {
  return Object.fromEntries(members);
}

/** The same call in another spelling: other order, and undefined members that say nothing. */
function respelt(original: unknown): unknown {
  if (Array.isArray(original)) return original.map(respelt);
  if (original instanceof Map) {
    return new Map([...original].reverse().map(([name, item]) => [respelt(name), respelt(item)]));
  }
  if (original instanceof Set) return new Set([...original].reverse().map(respelt));
  if (original instanceof Uint8Array) return Buffer.from(original);
  if (original instanceof Date) return new Date(original);
  if (!isRecord(original)) return original;
  const members = Object.entries(original).map(([name, item]) => [name, respelt(item)] as const);
  return recordOf([["left out", undefined] as const, ...members.reverse(), ["unset", undefined] as const]);
}

/** Every other call that one change away from this one lies. */
function* changesOf(original: unknown): Generator<unknown> {
  yield fresh();
  if (Array.isArray(original)) {
    yield [...original, null];
    yield [...original, undefined];
    yield [original];
    for (const [index, item] of original.entries()) {
      yield original.toSpliced(index, 1);
      for (const other of changesOf(item)) yield original.with(index, other);
    }
  } else if (original instanceof Map) {
    yield new Map([...original, [fresh(), null]]);
    yield [...original];
    for (const [name, item] of original) {
      for (const other of changesOf(item)) yield new Map([...original, [name, other]]);
    }
  } else if (original instanceof Set) {
    yield new Set([...original, fresh()]);
    yield [...original];
  } else if (isRecord(original)) {
    yield recordOf([...Object.entries(original), ["added", null]]);
    yield Object.entries(original);
    for (const [name, item] of Object.entries(original)) {
      yield recordOf(Object.entries(original).filter(([other]) => other !== name));
      for (const other of changesOf(item)) yield recordOf([...Object.entries(original), [name, other]]);
    }
  } else {
    yield [original];
    yield { original };
    yield String(original) === original ? Number.NaN : String(original);
  }
}

let count = 0;
function fresh(): string {
  count += 1;
  return `fresh ${count}`;
}

describe("the fingerprint of a call", () => {
  it("is the same for the same call, whatever the order of keys and members that are undefined", () => {
    fc.assert(
      fc.property(value, (call) => {
        expect(fingerprint(respelt(call))).toBe(fingerprint(call));
      }),
    );
  });

  it("is another after any change, however deep", () => {
    fc.assert(
      fc.property(value, (call) => {
        const own = fingerprint(call);
        for (const other of changesOf(call)) {
          if (fingerprint(other) === own) expect(other).not.toEqual(call); // prints both
          expect(fingerprint(other)).not.toBe(own);
        }
      }),
    );
  });

  it("tells values apart that look alike when they are written down", () => {
    const lookalikes = [
      "1",
      1,
      1n,
      "1n",
      true,
      "true",
      false,
      null,
      "null",
      "",
      "undefined",
      Number.NaN,
      "NaN",
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      [],
      "[]",
      {},
      "{}",
      [[]],
      [null],
      [undefined],
      [1, 2],
      ["1,2"],
      "[1,2]",
      { a: 1 },
      { a: "1" },
      { a: null },
      { "a:1,b": 1 },
      { a: 1, b: 1 },
      '{"a":1}',
      [["a", 1]],
      new Date(1),
      "Date(1)",
      'Date("1")',
      new Date(Number.NaN),
      new Decimal("1"),
      'Decimal("1")',
      new Day("1"),
      new Map(),
      "Map()",
      new Map([["a", 1]]),
      new Map([["a", "1"]]),
      new Set(),
      "Set()",
      new Set([1]),
      new Set(["1"]),
      new Set([["a", 1]]),
      new Uint8Array(),
      "bytes()",
      new Uint8Array([1]),
      'bytes("AQ==")',
    ];
    const prints = new Map(lookalikes.map((lookalike) => [fingerprint(lookalike), lookalike]));
    expect(prints.size).toBe(lookalikes.length);
    for (const lookalike of lookalikes) expect(prints.get(fingerprint(lookalike))).toBe(lookalike);
  });

  it("takes 0 and -0 for one amount, and a Buffer for its bytes", () => {
    expect(fingerprint(-0)).toBe(fingerprint(0));
    expect(fingerprint(Buffer.from([1, 2]))).toBe(fingerprint(new Uint8Array([0, 1, 2]).subarray(1)));
  });

  it("is 43 characters of base64url, since it is stored with every call", () => {
    expect(fingerprint({ a: 1 })).toMatch(/^[\w-]{43}$/);
  });

  it.each<[string, unknown, string]>([
    ["an upload's promise", { file: Promise.resolve() }, "file is an instance of Promise"],
    ["a stream", { file: { stream: new PassThrough() } }, "file.stream is an instance of PassThrough"],
    ["a function", { input: { list: [1, () => 1] } }, "input.list[1] is a function"],
    ["a symbol", { tag: Symbol("a") }, "tag is a symbol"],
    ["an instance without a form", { input: new (class Upload {})() }, "input is an instance of Upload"],
    ["a raw buffer", { input: new ArrayBuffer(1) }, "input is an instance of ArrayBuffer"],
    [
      "what can't even be a text",
      { input: Object.create(Object.create(null)) },
      "input is an instance of no class",
    ],
    [
      "a text that says nothing",
      {
        input: new (class A {
          toString = () => "[object A]";
        })(),
      },
      "input is an instance of A",
    ],
  ])("refuses %s, naming the argument and the mend", (_what, call, fault) => {
    const action = () => fingerprint(call);
    expect(action).toThrow(
      `The argument ${fault}, which can't be compared between retries. Nothing was run. The API's author can leave it out of the comparison with @idempotent(ignore: [...]).`,
    );
    expect(action).toThrow(expect.objectContaining({ code: "IDEMPOTENCY_ARGUMENT_UNSUPPORTED" }));
  });
});

describe("ignored paths", () => {
  it("never matter, whatever stands there", () => {
    fc.assert(
      fc.property(value, value, value, (kept, one, other) => {
        const ignore = ignoreTree(["note", "input.at", "input.lines.note", "input.at.deeper"]);
        const call = (ignored: unknown) => ({
          note: ignored,
          input: { at: ignored, kept, lines: [{ note: ignored, kept }, { kept }, null] },
        });
        expect(fingerprint(call(one), ignore)).toBe(fingerprint(call(other), ignore));
        const without = { input: { kept, lines: [{ kept }, { kept }, null] } };
        expect(fingerprint(call(one), ignore)).toBe(fingerprint(without, ignore));
      }),
    );
  });

  it("leave out nothing but themselves", () => {
    const ignore = ignoreTree(["input.note"]);
    const base = fingerprint({ input: { note: 1, amount: 1 } }, ignore);
    for (const other of [
      { input: { amount: 2 } },
      { input: { amount: 1, notes: 1 } },
      { input: { amount: 1 }, note: 1 },
      { input: [{ amount: 1 }] },
      { input: null },
    ]) {
      expect(fingerprint(other, ignore)).not.toBe(base);
    }
  });

  it.each([[["a", "a.b"]], [["a.b", "a"]], [["a", "a"]]])("may cover one another: %j", (paths) => {
    expect(ignoreTree(paths)).toEqual(new Map([["a", true]]));
  });
});

const sdl = /* GraphQL */ `
  type Query {
    nothing: Boolean
  }
  scalar Time
  scalar Huge
  scalar Exact
  enum Color {
    RED
    BLUE
  }
  input Line {
    product: ID! = "pen"
    quantity: Int! = 1
    price: Float
    colors: [Color!] = [RED]
    at: Time
    serial: Huge
    total: Exact
    gift: Boolean
    below: [Line!]
    note: String
  }
  type Mutation {
    create(line: Line, color: Color! = RED, idempotencyKey: ID!): Boolean @idempotent(ignore: ["line.note", "line.below.note"])
  }
`;

function scalar(name: string, parse: (text: string) => unknown): GraphQLScalarType {
  return new GraphQLScalarType({
    name,
    parseValue: (text) => parse(String(text)),
    parseLiteral: (node) => parse(node.kind === Kind.STRING || node.kind === Kind.INT ? node.value : ""),
  });
}

/** Sends calls and tells what became of each: `ran`, `replayed`, or the code of its error. */
async function startCalls() {
  const opened = await openEntries();
  const idempotency = idempotent({ store: opened.store, scope: SHARED });
  const schema = idempotency.transform(
    makeExecutableSchema({
      typeDefs: [idempotency.typeDefs, sdl],
      resolvers: {
        Time: scalar("Time", (text) => new Date(text)),
        Huge: scalar("Huge", BigInt),
        Exact: scalar("Exact", (text) => new Decimal(text)),
        // What an enum's names stand for need not be JSON.
        Color: { RED: 1n, BLUE: new Date(2) },
        Mutation: { create: () => true },
      },
    }),
  );

  async function send(source: string, variableValues: Record<string, unknown> = {}): Promise<unknown> {
    const contextValue = {};
    const outcomes = collectOutcomes(contextValue);
    const { errors } = await graphql({ schema, source, contextValue, variableValues });
    if (errors?.[0]) return errors[0].extensions.code ?? errors[0].message;
    return outcomes[0]?.replayed ? "replayed" : "ran";
  }

  return { send, [Symbol.asyncDispose]: opened[Symbol.asyncDispose] };
}

interface Line {
  readonly colors?: readonly string[] | null;
  readonly below?: readonly Line[];
  readonly [field: string]: unknown;
}

/** A line as a client writes it: absent fields, nulls and lists. */
const { line } = fc.letrec<{ line: Line }>((tie) => ({
  line: fc.record(
    {
      product: fc.string({ unit: "grapheme" }),
      quantity: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      price: fc.double({ noNaN: true, noDefaultInfinity: true }).map((price) => price + 0),
      colors: fc.option(fc.array(fc.constantFrom("RED", "BLUE"), { maxLength: 3 })),
      at: fc.date({ noInvalidDate: true, min: new Date(0) }).map((date) => date.toISOString()),
      serial: fc.bigInt().map(String),
      total: fc.integer().map(String),
      gift: fc.option(fc.boolean()),
      note: fc.string(),
      below: fc.array(tie("line"), { maxLength: 2, depthIdentifier: "line" }),
    },
    { requiredKeys: [], noNullPrototype: true },
  ) as fc.Arbitrary<Line>, // `as`: a record of just these fields
}));

function literal(item: unknown, name?: string): string {
  if (Array.isArray(item)) return `[${item.map((each) => literal(each, name)).join(" ")}]`;
  if (isRecord(item)) {
    const fields = Object.entries(item).map(([field, each]) => `${field}: ${literal(each, field)}`);
    return `{${fields.join(", ")}}`;
  }
  return name === "colors" && item !== null ? String(item) : JSON.stringify(item);
}

function reversed({ below, ...rest }: Line): Line {
  return recordOf(
    [...Object.entries(rest), ...(below ? [["below", below.map(reversed)] as const] : [])].reverse(),
  );
}

function withDefaults({ below, ...rest }: Line): Line {
  const written = { product: "pen", quantity: 1, colors: ["RED"], ...rest };
  return below ? { ...written, below: below.map(withDefaults) } : written;
}

/** What the schema ignores are the notes of a line and of those right below it. */
function withoutNotes({ note: _note, below, ...rest }: Line): Line {
  return below ? { ...rest, below: below.map(({ note: _below, ...other }) => other) } : rest;
}

describe("through a schema", () => {
  it("a call is the same by literals and by variables, with defaults and explicit values, in any order", async () => {
    await using calls = await startCalls();
    const byVariable = "mutation ($line: Line, $key: ID!) { create(line: $line, idempotencyKey: $key) }";
    let key = 0;
    await fc.assert(
      fc.asyncProperty(line, async (sent) => {
        key += 1;
        const byLiteral = (other: Line) =>
          `mutation { create(idempotencyKey: ${key}, line: ${literal(other)}) }`;
        expect(await calls.send(byLiteral(sent))).toBe("ran");
        const retries = [sent, reversed(sent), withDefaults(sent), withoutNotes(sent)];
        for (const retry of retries) {
          expect(await calls.send(byVariable, { line: retry, key: String(key) })).toBe("replayed");
        }
        const others = [
          { ...sent, quantity: (Number(sent.quantity ?? 1) + 1) | 0 },
          { ...sent, product: `${sent.product ?? "pen"}s` },
          { ...sent, colors: [...(sent.colors ?? []), "BLUE", "BLUE"] },
          { ...sent, serial: String(BigInt(String(sent.serial ?? 0)) - 1n) },
          { ...sent, below: [...(sent.below ?? []), {}] },
        ];
        for (const other of others) {
          expect(await calls.send(byLiteral(other))).toBe("IDEMPOTENCY_KEY_PARAMETER_MISMATCH");
        }
      }),
      { numRuns: 25 },
    );
  });

  it.each([
    ["a default of the argument", "", "color: RED"],
    ["a variable that is not given", "color: $color", ""],
    ["a single value for a list", "line: { colors: BLUE }", "line: { colors: [BLUE] }"],
    ["an ID as a number", "line: { product: 7 }", 'line: { product: "7" }'],
    ["a Float as an integer", "line: { price: 7 }", "line: { price: 7.0 }"],
    [
      "one moment in two zones",
      'line: { at: "2026-01-01T00:00:00Z" }',
      'line: { at: "2026-01-01T01:00:00+01:00" }',
    ],
    ["one BigInt in two spellings", 'line: { serial: "0x10" }', "line: { serial: 16 }"],
    ["a comment and white space", "line: { # a pen\n }", "line: {}"],
  ])("%s makes no other call", async (_what, one, other) => {
    await using calls = await startCalls();
    const source = (args: string) =>
      `mutation ${args.includes("$color") ? "($color: Color! = RED)" : ""} { create(idempotencyKey: "k" ${args}) }`;
    expect(await calls.send(source(one))).toBe("ran");
    expect(await calls.send(source(other))).toBe("replayed");
  });

  it.each([
    ["null is not absence", "line: null", ""],
    ["an empty input is not null", "line: {}", "line: null"],
    ["an empty list is not null", "line: { below: [] }", "line: { below: null }"],
    ["the order of a list matters", "line: { colors: [RED BLUE] }", "line: { colors: [BLUE RED] }"],
    ["a decimal's digits matter", 'line: { total: "1.0" }', 'line: { total: "1.00" }'],
  ])("%s", async (_what, one, other) => {
    await using calls = await startCalls();
    expect(await calls.send(`mutation { create(idempotencyKey: "k" ${one}) }`)).toBe("ran");
    expect(await calls.send(`mutation { create(idempotencyKey: "k" ${other}) }`)).toBe(
      "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
    );
  });
});
