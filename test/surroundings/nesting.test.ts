import { setTimeout as sleep } from "node:timers/promises";
import { makeExecutableSchema } from "@graphql-tools/schema";
import { graphql } from "graphql";
import {
  idempotent,
  type OnceOptions,
  once,
  onceExternal,
  type TransactionContext,
} from "graphql-idempotent";
import { openDatabase, sqliteStore } from "graphql-idempotent/sqlite";
import { describe, expect, it } from "vitest";
import { orders, type RequestContext, type Tables } from "../orders-schema.ts";
import { startServer } from "../start-server.ts";
import { type Entries, entries, openEntries, type Tx, tables } from "../stores/sqlite/entries-database.ts";

// A call that waits for another write to its own database waits for itself: it holds the write lock until it is over.

const call: OnceOptions = { scope: "a", field: "entries.add", key: "inner" };

function add(text: string) {
  return (tx: Tx) => tx.insert(entries).values({ text }).run().changes;
}

/** What waits for the writer, by its name. */
const waits: Record<string, (opened: Entries) => Promise<unknown>> = {
  "database.write()": ({ database }) => database.write(add("inner")),
  "store.write()": ({ store }) => store.write(add("inner")),
  "once()": ({ store }) => once(store, call, add("inner")),
  "once() with the key of the call itself": ({ store }) =>
    once(store, { ...call, key: "outer" }, add("inner")),
  "onceExternal()": ({ store }) => onceExternal(store, call, ({ write }) => write("add", add("inner"))),
  "store.purge()": ({ store }) => store.purge(),
  "store.transaction()": ({ store }) =>
    store.transaction({ scope: "a", field: "a", key: "a" }, () => Promise.reject(new Error("has run")), {
      waitMs: 1_000,
      mayDiscard: false,
    }),
  "a mutation that it executes by itself": async ({ store }) => {
    const idempotency = idempotent<object, Tx>({ store, scope: () => "a" });
    const schema = idempotency.transform(
      makeExecutableSchema({
        typeDefs: [
          idempotency.typeDefs,
          "type Query { a: Int } type Mutation { add(idempotencyKey: ID!): Int @idempotent }",
        ],
        resolvers: {
          Mutation: {
            add: (_root: unknown, _args: unknown, { tx }: TransactionContext<Tx>) => add("inner")(tx),
          },
        },
      }),
    );
    const source = 'mutation { add(idempotencyKey: "1") }';
    const { errors } = await graphql({ schema, source, contextValue: {} });
    throw errors?.[0]?.originalError ?? new Error("It was not refused.");
  },
  "another handle of the same file": async ({ database }) => {
    const again = openDatabase(database.file, { schema: tables });
    try {
      await again.write(add("inner"));
    } finally {
      await again.close();
    }
  },
  "a call of another database that waits for this one": async ({ database }) => {
    await using other = openDatabase(undefined, { schema: tables });
    await other.write(() => database.write(add("inner")));
  },
  "a write in a timer that it awaits": async ({ database }) => {
    await sleep(1);
    await new Promise((resolve, reject) => {
      setTimeout(() => database.write(add("inner")).then(resolve, reject), 1);
    });
  },
};

describe("a call that waits for", () => {
  it.each(Object.keys(waits))("%s is refused, with what to do, and nobody else is", async (name) => {
    await using opened = await openEntries();
    const wait = waits[name] as (typeof waits)[string]; // `as`: it is one of the names
    const before = opened.database.write(add("before"));
    const outer = once(opened.store, { ...call, key: "outer" }, async (tx) => {
      add("outer")(tx);
      await wait(opened);
    });
    const neighbours = ["b", "c"].map((text) => opened.database.write(add(text)));
    await expect(outer).rejects.toThrow(/write through the `tx`/);
    await expect(Promise.all([before, ...neighbours])).resolves.toEqual([1, 1, 1]);
    expect(opened.texts()).toEqual(["before", "b", "c"]);
    await once(opened.store, { ...call, key: "outer" }, add("outer, again"));
    expect(opened.texts()).toEqual(["before", "b", "c", "outer, again"]);
  });

  it("another write may catch the refusal and go on", async () => {
    await using opened = await openEntries();
    await opened.database.write(async (tx) => {
      await opened.database.write(add("inner")).catch(() => {});
      await tx.transaction(async (nested) => {
        await expect(opened.database.write(add("inner"))).rejects.toThrow("write through the `tx`");
        add("nested")(nested);
      });
      add("outer")(tx);
    });
    expect(opened.texts()).toEqual(["nested", "outer"]);
  });
});

describe("not refused is", () => {
  it("what a call has started and what runs when the call is over", async () => {
    await using opened = await openEntries();
    const { database } = opened;
    const later: Promise<unknown>[] = [];
    let isOver = (): void => {};
    const over = new Promise<void>((resolve) => {
      isOver = resolve;
    });
    const outer = database.write((tx) => {
      add("outer")(tx);
      later.push(
        over.then(() => database.write(add("later"))),
        over.then(() => once(opened.store, call, add("once"))),
      );
    });
    await outer.then(isOver);
    await Promise.all(later);
    expect(opened.texts()).toEqual(["outer", "later", "once"]);
  });

  it("what follows a call that failed", async () => {
    await using opened = await openEntries();
    const { database } = opened;
    let afterFailure: Promise<unknown> = Promise.resolve();
    await database
      .write(() => {
        afterFailure = sleep(5).then(() => database.write(add("after a failure")));
        throw new Error("no");
      })
      .catch(() => {});
    await afterFailure;
    expect(opened.texts()).toEqual(["after a failure"]);
  });

  it("a write to another database", async () => {
    await using here = await openEntries();
    await using there = await openEntries();
    await here.database.write(async (tx) => {
      await there.database.write(add("there"));
      await once(there.store, call, add("there, once"));
      add("here")(tx);
    });
    expect([here.texts(), there.texts()]).toEqual([["here"], ["there", "there, once"]]);
  });

  it("a read", async () => {
    await using opened = await openEntries();
    const { database } = opened;
    await database.write(add("a"));
    expect(await database.write(() => opened.texts())).toEqual(["a"]);
  });

  it("a write by a call with effects elsewhere, which holds no transaction", async () => {
    await using opened = await openEntries();
    await onceExternal(opened.store, call, async ({ step }) => {
      await step("step", () => opened.database.write(add("in a step")));
      await opened.database.write(add("in the run"));
    });
    expect(opened.texts()).toEqual(["in a step", "in the run"]);
    const nested = onceExternal(opened.store, { ...call, key: "2" }, ({ write }) =>
      write("write", () => opened.database.write(add("in a write"))),
    );
    await expect(nested).rejects.toThrow("write through the `tx`");
  });

  it("the call of a customer that another customer's call started", async () => {
    await using opened = await openEntries();
    let isStarted = (): void => {};
    const started = new Promise<void>((resolve) => {
      isStarted = resolve;
    });
    const waiting = started.then(() => opened.database.write(add("other")));
    await opened.database.write(async (tx) => {
      isStarted();
      await sleep(5);
      add("outer")(tx);
    });
    await waiting;
    expect(opened.texts()).toEqual(["outer", "other"]);
  });
});

describe("over HTTP, a resolver that writes past its tx", () => {
  it("fails fast and alone, among calls that don't", async () => {
    type Context = RequestContext &
      TransactionContext<import("graphql-idempotent/sqlite").Transaction<Tables>>;
    const order = { customer: "alice", item: "x", quantity: 1 };
    await using server = await startServer({
      typeDefs: `type Query { a: Int } type Mutation {
        good(idempotencyKey: ID!): Int @idempotent
        bad(idempotencyKey: ID!): Int @idempotent
        worse(idempotencyKey: ID!): Int @idempotent
      }`,
      resolvers: (database) => {
        const store = sqliteStore(database, { purgeEveryMs: 0 });
        return {
          Mutation: {
            good: (_root: unknown, _args: unknown, { tx }: Context) =>
              tx.insert(orders).values(order).run().changes,
            bad: () => database.write((tx) => tx.insert(orders).values(order).run().changes),
            worse: async () =>
              (await once(store, call, (tx) => tx.insert(orders).values(order).run())).result,
          },
        };
      },
    });
    const ask = (field: string, key: number) =>
      server.ask(`mutation { ${field}(idempotencyKey: "${field}-${key}") }`);
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, index) => ask(["bad", "worse", "good"][index % 3] as string, index)), // `as`: of three
    );
    const good = answers.filter((_answer, index) => index % 3 === 2);
    expect(good.map(({ body }) => body)).toEqual(
      good.map(() => expect.objectContaining({ data: { good: 1 } })),
    );
    for (const { body } of answers.filter((_answer, index) => index % 3 !== 2)) {
      expect(body.errors[0].extensions).toMatchObject({
        code: "INTERNAL_SERVER_ERROR",
        idempotency: { safeToUseNewKey: true },
      });
    }
    expect(await server.countOrders()).toBe(10);
  });
});
