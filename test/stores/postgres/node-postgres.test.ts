import { drizzle } from "drizzle-orm/node-postgres";
import { once } from "graphql-idempotent";
import { postgresStore } from "graphql-idempotent/postgres";
import pg from "pg";
import { v7 } from "uuid";
import { describe, expect, it } from "vitest";
import { connectNodePostgres } from "./connect.ts";
import { openCuttingProxy } from "./cutting-proxy.ts";
import { openEmptyDatabase, tables } from "./entries-database.ts";
import { insert, postgresSuite } from "./postgres-suite.ts";

postgresSuite(connectNodePostgres);

describe("a protected call", () => {
  it("makes as many round trips as a transaction without protection, or one more for a key that may be old", async () => {
    await using database = await openEmptyDatabase();
    const url = new URL(database.url);
    await using proxy = await openCuttingProxy(Number(url.port));
    url.port = String(proxy.port);
    const pool = new pg.Pool({ connectionString: url.href, max: 1 });
    const db = drizzle(pool, { schema: tables });
    const store = postgresStore(db, { purgeEveryMs: 0 });
    const answersTo = async (run: () => Promise<unknown>): Promise<number> => {
      const before = proxy.answers;
      await run();
      return proxy.answers - before;
    };
    const call = { scope: "alice", field: "entries.add", key: "key" };
    await store.find(call); // connects, and prepares the look-up
    const plain = await answersTo(() => db.transaction((tx) => insert(tx, "a")));
    expect(plain).toBe(3);
    expect(await answersTo(() => store.write((tx) => insert(tx, "b")))).toBe(plain);
    expect(await answersTo(() => once(store, call, (tx) => insert(tx, "c")))).toBe(plain + 1);
    expect(await answersTo(() => once(store, call, (tx) => insert(tx, "never")))).toBe(1);
    const justMade = { ...call, key: v7() };
    expect(await answersTo(() => once(store, justMade, (tx) => insert(tx, "d")))).toBe(plain);
    expect(await once(store, justMade, (tx) => insert(tx, "never"))).toMatchObject({ replayed: true });
    expect(await answersTo(() => Promise.all(Array.from({ length: 100 }, () => store.find(call))))).toBe(1);
    await pool.end();
  });

  it("spares the look-up of a key that was made within the last second", async () => {
    await using database = await openEmptyDatabase();
    const now = 1_000_000;
    await using process = connectNodePostgres(database.url, { now: () => now, purgeEveryMs: 0 });
    const call = { scope: "alice", field: "entries.add", key: "key" };
    await once(process.store, call, (tx) => insert(tx, "a"));
    for (const keyTime of [now, now - 999]) expect(await process.store.find(call, keyTime)).toBeUndefined();
    for (const keyTime of [now - 1_000, now + 1, undefined]) {
      expect(await process.store.find(call, keyTime)).toMatchObject({ key: "key" });
    }
  });
});
