import { makeExecutableSchema } from "@graphql-tools/schema";
import { graphql } from "graphql";
import { idempotent, SHARED, type TransactionContext } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { entries, openEntries, type Tx } from "../stores/sqlite/entries-database.ts";

class Session {
  readonly #user = "alice";
  user(): string {
    return this.#user;
  }
  get greeting(): string {
    return `Hello ${this.#user}`;
  }
}

// biome-ignore lint/suspicious/noExplicitAny: each test has a context of another shape
type Read = (context: any) => unknown;

/** Calls `create` under two aliases, the second after the first, with one context. */
async function run(context: object, read: Read, { atOnce = false } = {}) {
  await using opened = await openEntries();
  const idempotency = idempotent({ store: opened.store, scope: SHARED });
  const schema = idempotency.transform(
    makeExecutableSchema({
      typeDefs: [
        idempotency.typeDefs,
        `type Query { none: Int }
         type Entry { read: String written: String granted: Boolean }
         type Mutation { create(text: String!, idempotencyKey: ID!): Entry @idempotent }`,
      ],
      resolvers: {
        Mutation: {
          create: async (_root: unknown, { text }: { text: string }, given: TransactionContext<Tx>) => {
            await given.tx.insert(entries).values({ text });
            if (Object.isExtensible(given)) Object.assign(given, { written: text });
            return { read: String(read(given)) };
          },
        },
        Entry: {
          written: (_entry: unknown, _args: unknown, given: object) => Reflect.get(given, "written"),
          granted: (_entry: unknown, _args: unknown, given: object) => "tx" in given,
        },
      },
    }),
  );
  const field = (text: string) =>
    `${text}: create(text: "${text}", idempotencyKey: "${text}") { read written granted }`;
  const sources = atOnce
    ? [`mutation { ${field("a")} }`, `mutation { ${field("b")} }`]
    : [`mutation { ${field("a")} ${field("b")} }`];
  const answers = await Promise.all(
    sources.map((source) => graphql({ schema, source, contextValue: context })),
  );
  for (const { errors } of answers) expect(errors).toBeUndefined();
  expect(opened.texts().toSorted()).toEqual(["a", "b"]);
  // `as`: the schema above has just these fields
  return Object.assign({}, ...answers.map(({ data }) => data)) as Record<
    string,
    { read: string; written: string; granted: boolean }
  >;
}

const known = new WeakMap<object, string>();
const inWeakMap = {};
known.set(inWeakMap, "alice");

describe("a resolver's context", () => {
  it.each<[string, object, Read]>([
    ["private fields", new Session(), (context) => context.user()],
    ["getters of its class", new Session(), (context) => context.greeting],
    [
      "getters of its own",
      {
        get user() {
          return "alice";
        },
      },
      (context) => context.user,
    ],
    [
      "members that are not enumerable",
      Object.defineProperty({}, "user", { value: "alice" }),
      (context) => context.user,
    ],
    ["its identity, as a key of a WeakMap", inWeakMap, (context) => known.get(context)],
    ["symbols", { [Symbol.for("user")]: "alice" }, (context) => context[Symbol.for("user")]],
    [
      "a proxy's behaviour",
      new Proxy({}, { get: (target, name) => Reflect.get(target, name) ?? `${String(name)}!` }),
      (context) => context.user,
    ],
    ["no prototype", Object.assign(Object.create(null), { user: "alice" }), (context) => context.user],
  ])(
    "keeps %s, carries what the resolver writes to the fields below, and has no grant afterwards",
    async (_what, context, read) => {
      const before = String(read(context));
      const { a, b } = await run(context, read);
      for (const entry of [a, b]) expect(entry).toMatchObject({ read: before, granted: false });
      expect([a?.written, b?.written]).toEqual(["a", "b"]);
      expect(Reflect.ownKeys(context)).not.toContain("tx");
    },
  );

  it("has its own `tx` back after the call", async () => {
    const context = { tx: "mine" };
    await run(context, () => "");
    expect(context.tx).toBe("mine");
  });

  it("may be frozen, with getters and members that are not enumerable", async () => {
    const context = Object.freeze(Object.defineProperties({ a: 1 }, { user: { get: () => "alice" } }));
    expect((await run(context, ({ user, a }) => user + a)).b).toMatchObject({
      read: "alice1",
      granted: false,
    });
  });

  it("may have a `tx` that can't be replaced", async () => {
    const context = Object.defineProperty({}, "tx", { value: "mine" });
    await run(context, ({ tx }) => typeof tx);
    expect(context).toHaveProperty("tx", "mine");
  });

  it("gives each call its own transaction where operations share a context", async () => {
    const given = new Set<unknown>();
    await run({}, ({ tx }) => given.add(tx), { atOnce: true });
    expect(given.size).toBe(2);
  });
});
