import { makeExecutableSchema } from "@graphql-tools/schema";
import { GraphQLScalarType, graphql } from "graphql";
import { collectOutcomes, idempotent, once, onceExternal, SHARED, type Store } from "graphql-idempotent";
import { openDatabase, sqliteStore } from "graphql-idempotent/sqlite";
import { describe, expect, it } from "vitest";
import { fingerprintVersion1, ignoreTree } from "../../src/core/fingerprint.ts";
import { noon, openEntries, type Tx, tables } from "../stores/sqlite/entries-database.ts";

/** One build of a server: its schema, and what its values are inside. */
interface Build {
  readonly types?: string;
  readonly argument?: string;
  readonly line?: string;
  readonly root?: string;
  readonly red?: unknown;
  readonly decimal?: new (digits: string) => object;
}

/** A scalar's class, under the name that a minifier gave it. */
function decimalClass(name: string): new (digits: string) => object {
  class Decimal {
    readonly #digits: string;
    constructor(digits: string) {
      this.#digits = digits;
    }
    toString() {
      return this.#digits;
    }
  }
  return Object.defineProperty(Decimal, "name", { value: name });
}

function startBuild(store: Store<Tx>, build: Build) {
  const {
    root = "Mutation",
    argument = "",
    line = "",
    types = "",
    red = "r",
    decimal = decimalClass("Decimal"),
  } = build;
  const idempotency = idempotent({ store, scope: SHARED, warn: () => {} });
  const schema = idempotency.transform(
    makeExecutableSchema({
      typeDefs: [
        idempotency.typeDefs,
        `schema { query: Query mutation: ${root} }
         scalar Decimal
         enum Color { RED BLUE }
         ${types}
         input Line { item: String  price: Decimal  color: Color ${line.includes("quantity") ? "" : "quantity: Int = 1"} ${line} }
         type Query { none: Int }
         type ${root} { create(line: Line, lines: [Line!], color: Color = RED, ${argument} idempotencyKey: ID!): Int @idempotent
                        pay(line: Line, ${argument} idempotencyKey: ID!): Int @idempotent(effects: EXTERNAL, errors: RETRY) }`,
      ],
      resolvers: {
        Color: { RED: red, BLUE: { shade: red } },
        Decimal: new GraphQLScalarType({ name: "Decimal", parseValue: (text) => new decimal(String(text)) }),
        [root]: { create: () => 1, pay: () => 1 },
      },
    }),
  );

  return async function send({ source, variables }: Request): Promise<unknown> {
    const contextValue = {};
    const outcomes = collectOutcomes(contextValue);
    const { errors } = await graphql({ schema, source, contextValue, variableValues: variables });
    if (errors?.[0]) return errors[0].extensions.code ?? errors[0].message;
    return outcomes[0]?.replayed ? "replayed" : "ran";
  };
}

interface Request {
  readonly source: string;
  readonly variables?: Record<string, unknown>;
}

const literal = (args: string): Request => ({ source: `mutation { create(idempotencyKey: "1", ${args}) }` });
const byVariable = (line: unknown): Request => ({
  source: 'mutation ($line: Line) { create(idempotencyKey: "1", line: $line) }',
  variables: { line },
});

/** Requests that both builds of every deploy below understand. */
const requests: readonly (readonly [string, Request])[] = [
  ["nothing but a key", literal("")],
  ["an empty input", literal("line: {}")],
  ["an empty input in a variable", byVariable({})],
  ["no input in a variable", byVariable(undefined)],
  ["null in a variable", byVariable(null)],
  ["the default, written out", literal("line: { quantity: 1 }")],
  ["the default, written out in a variable", byVariable({ quantity: 1 })],
  ["another value", literal("line: { quantity: 2 }, color: BLUE")],
  ["another value in a variable", byVariable({ quantity: 2, color: "BLUE" })],
  ["null for a default", byVariable({ quantity: null })],
  ["enums", literal("color: RED, line: { color: RED }")],
  ["a list of inputs", literal("lines: [{ quantity: 3 }, {}, { quantity: 2, price: 7 }]")],
  ["a scalar's class", byVariable({ price: "1.50", item: "cup" })],
  [
    "a variable's own default",
    { source: 'mutation ($color: Color = BLUE) { create(idempotencyKey: "1", color: $color) }' },
  ],
  ["an EXTERNAL call", { source: 'mutation { pay(idempotencyKey: "1", line: { item: "cup" }) }' }],
];

const everything = {
  argument: "gift: Boolean! = false, options: Options! = { wrap: false }",
  types: 'input Options { wrap: Boolean = true  card: String = "none" }',
  line: 'quantity: Int = 2  note: String = ""  below: [Line!] = []',
  root: "RootMutation",
  red: Symbol("red"),
  decimal: decimalClass("a"),
} satisfies Build;

const deploys: readonly (readonly [string, Build])[] = [
  ["adds an argument with a default", { argument: "gift: Boolean! = false," }],
  [
    "adds an argument with an input for its default",
    { types: everything.types, argument: everything.argument },
  ],
  ["adds an input field with a default", { line: "gift: Boolean = false" }],
  ["adds an input field without one", { line: "gift: Boolean" }],
  ["changes a default", { line: "quantity: Int = 2" }],
  ["changes a default to null", { line: "quantity: Int = null" }],
  [
    "changes a default, and adds another",
    { line: "quantity: Int = 2  gift: Boolean = false", argument: "gift: Boolean = true," },
  ],
  ["drops a default", { line: "quantity: Int" }],
  ["changes the values behind an enum", { red: 1 }],
  ["changes them to objects", { red: { rgb: "f00" } }],
  ["renames a class", { decimal: decimalClass("a") }],
  ["renames the mutation type", { root: "RootMutation" }],
  ["does all of it at once", everything],
];

async function openTwice() {
  const opened = await openEntries();
  const other = openDatabase(opened.database.file, { schema: tables });
  const disposable = {
    stores: [opened.store, sqliteStore(other, { now: () => noon, purgeEveryMs: 0 })] as const,
    opened,
    async [Symbol.asyncDispose]() {
      await other.close();
      await opened[Symbol.asyncDispose]();
    },
  };
  return disposable;
}

describe("a retry across a deploy, byte for byte the same request, is the same call", () => {
  describe.each(deploys)("that %s", (_what, changed) => {
    it.each([
      ["before and after", {}, changed],
      ["after and before", changed, {}],
    ])("%s", async (_direction, first, second) => {
      await using files = await openTwice();
      const servers = [startBuild(files.stores[0], first), startBuild(files.stores[1], second)] as const;
      for (const [index, [name, { source, variables }]] of requests.entries()) {
        const request = { source: source.replace('"1"', `"${index}"`), ...(variables && { variables }) };
        expect([name, await servers[0](request)]).toEqual([name, "ran"]);
        expect([name, await servers[1](request)]).toEqual([name, "replayed"]);
        expect([name, await servers[0](request)]).toEqual([name, "replayed"]);
      }
    });

    it.each([
      ["before and after", {}, changed],
      ["after and before", changed, {}],
    ])("and another request is another call, %s", async (_direction, first, second) => {
      await using files = await openTwice();
      const servers = [startBuild(files.stores[0], first), startBuild(files.stores[1], second)] as const;
      await servers[0](literal('line: { quantity: 7, item: "cup" }, color: BLUE, lines: [{ quantity: 3 }]'));
      for (const args of [
        "",
        'line: { quantity: 8, item: "cup" }, color: BLUE, lines: [{ quantity: 3 }]',
        'line: { quantity: 7, item: "mug" }, color: BLUE, lines: [{ quantity: 3 }]',
        'line: { quantity: 7, item: "cup" }, color: RED, lines: [{ quantity: 3 }]',
        'line: { quantity: 7, item: "cup" }, color: BLUE, lines: [{ quantity: 3 }, {}]',
        'line: { quantity: 7, item: "cup" }, color: BLUE, lines: [{}]',
        'line: { item: "cup" }, color: BLUE, lines: [{ quantity: 3 }]',
      ]) {
        expect([args, await servers[1](literal(args))]).toEqual([args, "IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]);
      }
    });
  });

  it("also where a client has begun to write out the new default", async () => {
    await using files = await openTwice();
    await startBuild(files.stores[0], {})(literal("line: {}"));
    const newer = startBuild(files.stores[1], {
      argument: "gift: Boolean = false,",
      line: 'note: String = ""',
    });
    expect(await newer(literal('gift: false, line: { note: "", quantity: 1 }'))).toBe("replayed");
    expect(await newer(literal('gift: true, line: { note: "" }'))).toBe("IDEMPOTENCY_KEY_PARAMETER_MISMATCH");
  });
});

describe("a record of version 1", () => {
  it("replays: for a mutation, whose fingerprint had values behind defaults and enums, and classes' names", async () => {
    await using opened = await openEntries();
    const Decimal = decimalClass("Decimal");
    const args = {
      line: { price: new Decimal("7"), quantity: 1, color: "r" },
      color: "r",
      idempotencyKey: "1",
    };
    await store1(opened.store, "Mutation.create", fingerprintVersion1(args, ignoreTree(["idempotencyKey"])));
    const send = startBuild(opened.store, {});
    expect(await send(literal("line: { price: 7, color: RED }"))).toBe("replayed");
    expect(await send(literal("line: { price: 8, color: RED }"))).toBe("IDEMPOTENCY_KEY_PARAMETER_MISMATCH");
  });

  it("replays: for once()", async () => {
    await using opened = await openEntries();
    const input = { price: new (decimalClass("Decimal"))("7") };
    await store1(opened.store, "consume", fingerprintVersion1(input, new Map()));
    const call = { scope: SHARED, field: "consume", key: "1" } as const;
    expect(await once(opened.store, { ...call, input }, () => 2)).toMatchObject({
      result: 1,
      replayed: true,
    });
    await expect(once(opened.store, { ...call, input: { price: 8 } }, () => 2)).rejects.toThrow(
      "other arguments",
    );
  });
});

describe("a record of a later version", () => {
  it.each(["3:abc", "10:abc"])("is no mismatch, and nothing runs (%s)", async (fingerprint) => {
    await using opened = await openEntries();
    await store1(opened.store, "Mutation.create", fingerprint);
    expect(await startBuild(opened.store, {})(literal(""))).toBe("IDEMPOTENCY_STORE_UNAVAILABLE");
  });

  it("is no mismatch either where an EXTERNAL call has claimed the key", async () => {
    await using opened = await openEntries();
    const request = { fingerprint: "3:abc", matches: () => true, leaseMs: 1, retentionMs: 3_600_000 };
    await opened.store.leases?.claim({ scope: "", field: "pay", key: "1" }, request);
    opened.clock.now += 10;
    await expect(
      onceExternal(opened.store, { scope: SHARED, field: "pay", key: "1" }, () => 1),
    ).rejects.toMatchObject({ code: "IDEMPOTENCY_STORE_UNAVAILABLE" });
  });
});

describe("once()", () => {
  it("does not count the names of classes", async () => {
    await using opened = await openEntries();
    const call = (name: string) =>
      ({
        scope: SHARED,
        field: "consume",
        key: "1",
        input: new (decimalClass(name))("7"),
      }) as const;
    await once(opened.store, call("Decimal"), () => 1);
    expect(await once(opened.store, call("a"), () => 2)).toMatchObject({ result: 1, replayed: true });
  });
});

/** Stores a record with the result 1, as another version of the package would. */
async function store1(store: Store<Tx>, field: string, fingerprint: string): Promise<void> {
  const identity = { scope: "", field, key: "1" };
  const record = {
    ...identity,
    fingerprint,
    format: "json",
    payload: "1",
    resourceId: null,
    createdAt: noon,
    expiresAt: noon + 3_600_000,
  } as const;
  await store.transaction(identity, async () => ({ kind: "keep", record }), { waitMs: 0, mayDiscard: false });
}
