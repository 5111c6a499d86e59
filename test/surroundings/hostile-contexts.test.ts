import { makeExecutableSchema } from "@graphql-tools/schema";
import { graphql } from "graphql";
import { collectOutcomes, idempotent, SHARED, type TransactionContext } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { entries, openEntries, type Tx } from "../stores/sqlite/entries-database.ts";

type Arguments = { readonly text: string };

/** A schema whose one mutation writes an entry, and then does what a test is about. */
function schemaFor(store: Awaited<ReturnType<typeof openEntries>>["store"], then: () => unknown = () => {}) {
  const idempotency = idempotent({ store, scope: SHARED });
  return idempotency.transform(
    makeExecutableSchema({
      typeDefs: [
        idempotency.typeDefs,
        `type Query { none: Int }
         type Mutation { create(text: String!, idempotencyKey: ID!): Entry @idempotent }
         type Entry { id: ID! }`,
      ],
      resolvers: {
        Mutation: {
          create: async (_root: unknown, { text }: Arguments, { tx }: TransactionContext<Tx>) => {
            const [entry] = await tx.insert(entries).values({ text }).returning();
            await then();
            return entry;
          },
        },
      },
    }),
  );
}

const strict: ProxyHandler<object> = {
  get(target, name) {
    if (name in target) return Reflect.get(target, name);
    throw new Error(`The container has no ${String(name)}.`);
  },
};

function throwing(): never {
  throw new Error("Not allowed.");
}

/** Contexts that throw when somebody touches them; `spoil` runs in the resolver. */
const contexts: readonly (readonly [string, () => { context: object; spoil?: () => void }])[] = [
  ["a proxy that refuses unknown names", () => ({ context: new Proxy({}, strict) })],
  [
    "a proxy that refuses writes",
    () => ({ context: new Proxy({}, { ...strict, set: throwing, defineProperty: throwing }) }),
  ],
  [
    "a proxy that refuses every trap but get",
    () => ({
      context: new Proxy(
        {},
        {
          ...strict,
          has: throwing,
          ownKeys: throwing,
          isExtensible: throwing,
          getOwnPropertyDescriptor: throwing,
          deleteProperty: throwing,
        },
      ),
    }),
  ],
  [
    "a getter that throws",
    () => ({ context: Object.defineProperty({}, "user", { get: throwing, enumerable: true }) }),
  ],
  [
    "a proxy that is revoked while the resolver runs",
    () => {
      const { proxy, revoke } = Proxy.revocable({}, {});
      return { context: proxy, spoil: revoke };
    },
  ],
  ["an object that is frozen", () => ({ context: Object.freeze({}) })],
  [
    "an object that is frozen while the resolver runs",
    () => {
      const context = {};
      return { context, spoil: () => Object.freeze(context) };
    },
  ],
];

const operation = 'mutation { create(text: "one", idempotencyKey: "1") { id } }';

describe("once a call has committed, its client gets the result", () => {
  it.each(contexts)("although the context is %s", async (_what, make) => {
    await using opened = await openEntries();
    const { context, spoil } = make();
    const schema = schemaFor(opened.store, spoil);
    collectOutcomes(context);
    const first = await graphql({ schema, source: operation, contextValue: context });
    const retry = await graphql({ schema, source: operation, contextValue: {} });
    if (first.errors) {
      // Refused before the commit: nothing was written, so the retry ran.
      expect(first.errors[0]?.extensions.idempotency).toMatchObject({ retryable: true });
    } else {
      expect(first.data).toEqual(retry.data);
    }
    expect(retry).toEqual({ data: { create: { id: "1" } } });
    expect(opened.texts()).toEqual(["one"]);
  });

  it.each(contexts)("and a replay, although its context is %s", async (_what, make) => {
    await using opened = await openEntries();
    const schema = schemaFor(opened.store);
    await graphql({ schema, source: operation, contextValue: {} });
    const { context, spoil } = make();
    collectOutcomes(context);
    spoil?.();
    const replay = await graphql({ schema, source: operation, contextValue: context });
    expect(replay).toEqual({ data: { create: { id: "1" } } });
  });

  it("reports the outcome of a call whose context can be read, whatever it refuses to take", async () => {
    await using opened = await openEntries();
    const context = new Proxy({}, { ...strict, set: throwing, defineProperty: throwing });
    const outcomes = collectOutcomes(context);
    await graphql({ schema: schemaFor(opened.store), source: operation, contextValue: context });
    expect(outcomes).toMatchObject([{ key: "1", replayed: false }]);
  });

  it("or an error that asks for no new key, when the record holds what can't be reported", async () => {
    await using opened = await openEntries();
    const schema = schemaFor({
      ...opened.store,
      find: () => undefined,
      async transaction(identity, work, options) {
        const outcome = await opened.store.transaction(identity, work, options);
        return outcome.kind === "running"
          ? outcome
          : { ...outcome, record: { ...outcome.record, payload: "{" } };
      },
    });
    const answer = await graphql({ schema, source: operation, contextValue: {} });
    expect(answer.errors?.[0]?.extensions).toMatchObject({
      code: "IDEMPOTENCY_RECORD_UNREADABLE",
      idempotency: { key: "1", retryable: false, safeToUseNewKey: false },
    });
    expect(opened.texts()).toEqual(["one"]);
  });
});

describe("a thrown value that throws when it is touched", () => {
  it.each([
    [
      "a revoked proxy",
      () => {
        const { proxy, revoke } = Proxy.revocable(new Error(), {});
        revoke();
        return proxy;
      },
    ],
    [
      "an error whose extensions throw",
      () => Object.defineProperty(new Error("no"), "extensions", { get: throwing }),
    ],
    ["an object without a text", () => Object.create(null)],
  ])("is masked, with advice on retries: %s", async (_what, make) => {
    await using opened = await openEntries();
    const schema = schemaFor(opened.store, () => {
      throw make();
    });
    const answer = await graphql({ schema, source: operation, contextValue: {} });
    expect(answer.errors?.[0]).toMatchObject({
      message: "Internal server error",
      extensions: {
        code: "INTERNAL_SERVER_ERROR",
        idempotency: { key: "1", retryable: true, safeToUseNewKey: true },
      },
    });
    expect(opened.texts()).toEqual([]);
  });
});
