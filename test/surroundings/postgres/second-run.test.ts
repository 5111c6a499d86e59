import { makeExecutableSchema } from "@graphql-tools/schema";
import { sql } from "drizzle-orm";
import { graphql } from "graphql";
import { idempotent, once, onceExternal, SHARED } from "graphql-idempotent";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Process } from "../../stores/postgres/connect.ts";
import { type EmptyDatabase, openEmptyDatabase } from "../../stores/postgres/entries-database.ts";
import { type Connect, insert, type Tx } from "../../stores/postgres/postgres-suite.ts";
import { onBothDrivers } from "./both-drivers.ts";

const call = { scope: "alice", field: "entries.add", key: "key" };
const unavailable = { code: "IDEMPOTENCY_STORE_UNAVAILABLE" };

function suite<OwnTx extends Tx>(connect: Connect<OwnTx>): void {
  let database: EmptyDatabase;
  let process: Process<OwnTx>;
  let rerunning: Process<OwnTx>;

  beforeEach(async () => {
    database = await openEmptyDatabase();
    process = connect(database.url, { purgeEveryMs: 0 });
    rerunning = connect(database.url, { purgeEveryMs: 0, rerun: true });
  });

  afterEach(async () => {
    for (const one of [process, rerunning, database]) await one[Symbol.asyncDispose]();
  });

  const texts = async () =>
    (await database.query("SELECT text FROM entries ORDER BY id")).map(({ text }) => text);

  /** Fails in its first run. */
  function colliding(state: string) {
    return vi.fn(async (tx: Tx) => {
      await insert(tx, "a");
      if (colliding.runs++ === 0) {
        await tx.execute(sql.raw(`DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '${state}'; END $$`));
      }
      return "done";
    });
  }
  colliding.runs = 0;
  beforeEach(() => {
    colliding.runs = 0;
  });

  describe.each(["40001", "40P01"])("after %s", (state) => {
    it.each([false, true])(
      "is the client's retry, with and without a key: errors are replayed = %s",
      async (isReplayed) => {
        const run = colliding(state);
        const options = { ...call, errors: isReplayed ? "REPLAY" : "RETRY" } as const;
        await expect(once(process.store, options, run)).rejects.toMatchObject(unavailable);
        expect(run).toHaveBeenCalledOnce();
        expect(await texts()).toEqual([]);
        expect(await once(process.store, options, run)).toMatchObject({ replayed: false });
        expect(await texts()).toEqual(["a"]);
      },
    );

    it("is the caller's own in a write without a key, and in one under a lease", async () => {
      const run = colliding(state);
      await expect(process.store.write(run)).rejects.toMatchObject(unavailable);
      expect(run).toHaveBeenCalledOnce();
      colliding.runs = 0;
      const external = onceExternal<OwnTx, string>(process.store, call, ({ write }) => write("entry", run));
      await expect(external).rejects.toMatchObject(unavailable);
      expect(run).toHaveBeenCalledTimes(2);
      expect(await texts()).toEqual([]);
    });
  });

  it("is the client's retry after a lost race for the key", async () => {
    const run = vi.fn(async (tx: Tx) => {
      await insert(tx, "a");
      await database.query(
        `INSERT INTO idempotency_records VALUES ('alice', 'entries.add', 'key', '', NULL, 'json', '"other"', 1, ${2 ** 52}, NULL, NULL)`,
      );
    });
    await expect(once(process.store, call, run)).rejects.toMatchObject(unavailable);
    expect(run).toHaveBeenCalledOnce();
    expect(await texts()).toEqual([]);
  });

  it("gets fresh arguments if the store may run a resolver again", async () => {
    const seen: unknown[] = [];
    const add = colliding("40P01");
    const typeDefs = `
      input Item { name: String! }
      type Query { nothing: Int }
      type Mutation { order(items: [Item!]!, idempotencyKey: ID!): String @idempotent }`;
    const resolvers = {
      Mutation: {
        order: async (_: unknown, { items }: { items: { name: string }[] }, { tx }: { tx: OwnTx }) => {
          seen.push(JSON.stringify(items));
          for (let item = items.pop(); item; item = items.pop()) item.name = "taken";
          return add(tx);
        },
      },
    };
    const { typeDefs: directive, transform } = idempotent({ store: rerunning.store, scope: SHARED });
    const schema = transform(makeExecutableSchema({ typeDefs: [directive, typeDefs], resolvers }));
    const source = 'mutation { order(items: [{ name: "a" }, { name: "b" }], idempotencyKey: "key") }';
    expect(await graphql({ schema, source, contextValue: {} })).toEqual({ data: { order: "done" } });
    expect(seen).toEqual(Array(2).fill('[{"name":"a"},{"name":"b"}]'));
  });
}

describe("a second run", () => onBothDrivers(suite));
