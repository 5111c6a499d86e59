import { setTimeout as sleep } from "node:timers/promises";
import { drizzle } from "drizzle-orm/node-postgres";
import { type OnceOptions, once, type Store } from "graphql-idempotent";
import { partitionRecords, postgresStore } from "graphql-idempotent/postgres";
import pg from "pg";
import { v4 } from "uuid";
import { beforeEach, describe, expect, it } from "vitest";
import { held } from "../store-suite/entries.ts";
import { connectNodePostgres, connectPostgresJs } from "./connect.ts";
import { tables } from "./entries-database.ts";
import { settlesOrWaits } from "./lock-waits.ts";
import { add, hour, keyAt, nameOf, partitionedEntries, startOf } from "./partitioned-entries.ts";
import { type Connect, insert, type Tx } from "./postgres-suite.ts";

const call = (key: string): OnceOptions => ({ scope: "alice", field: "entries.add", key });

/** A call that lasts until it is released. */
async function startHeld(store: Store<Tx>, key: string) {
  const { run, started, release } = held(add(key));
  const running = once(store, call(key), run);
  await started;
  return { running, release };
}

/** Partitions change only while no call is under way. */
describe.each<[string, Connect<Tx>]>([
  ["node-postgres", connectNodePostgres],
  ["postgres.js", connectPostgresJs],
])("the purge of a partitioned table, over %s, while calls are under way", (_name, connect) => {
  const on = partitionedEntries(connect);

  beforeEach(async () => {
    await on.query(partitionRecords);
  });

  it("waits for no call: a partition whose call is under way stays, and so does its record", async () => {
    const store = on.join();
    await store.purge();
    const key = keyAt(on.time);
    const partition = nameOf(startOf(on.time));
    on.time += 2 * hour;
    const other = on.join({ now: () => on.time + 30 * hour }); // for it, all of that time is over
    let purged = -1;
    const running = once(store, call(key), async (tx: Tx) => {
      purged = await other.purge();
      return insert(tx, "slow");
    });
    expect(await running).toMatchObject({ replayed: false });
    expect(purged).toBe(0);
    expect(await on.partitions()).toContain(partition);
    expect(await once(store, call(key), add("never"))).toMatchObject({ replayed: true });
  });

  it("keeps a partition whose record came while the purge waited to drop it", async () => {
    const store = on.join();
    await store.purge();
    const [begun, next] = [startOf(on.time), startOf(on.time) + hour];
    // Their records keep both until the partitions of two hours later are there, and nothing is left to be made.
    on.time = next;
    for (const start of [begun, next]) {
      await once(store, { ...call(keyAt(start)), retention: "150m" }, add(nameOf(start)));
    }
    on.time = next + 2 * hour;
    await store.purge();
    on.time += 40 * 60_000;
    expect(await on.partitions()).toEqual(expect.arrayContaining([nameOf(begun), nameOf(next)]));
    const key = keyAt(begun + 1);
    const { running, release } = await startHeld(on.join(), key);
    // Each time that it had to give up, the purge waits longer: long enough at last for what follows.
    for (let nth = 0; nth < 3; nth++) {
      await store.purge();
      on.time += 60_000;
    }
    const purging = store.purge();
    expect(await settlesOrWaits(on, purging, { of: "relation" })).toBe("waits");
    release();
    await Promise.all([running, purging]);
    expect(await on.partitions()).not.toContain(nameOf(next));
    expect(await on.partitions()).toContain(nameOf(begun));
    expect(await once(store, call(key), add("never"))).toMatchObject({ replayed: true });
  });

  it("runs each call once while time passes over the ends of partitions", { timeout: 60_000 }, async () => {
    const stores = [on.join(), on.join(), on.join()] as const;
    const ran = new Map<string, number>();
    let isOver = false;
    const purging = stores.map(async (store) => {
      while (!isOver) await store.purge();
    });
    const keys = Array.from({ length: 60 }, (_, nth) => keyAt(on.time + (nth - 5) * (hour / 12)));
    for (const key of keys) {
      on.time += hour / 12; // the keys are made before, in and ahead of the partitions of their day
      const calls = Array.from({ length: 9 }, async (_, nth) => {
        await sleep(Math.random() * 20);
        return once(stores[nth % 3] ?? stores[0], call(key), async (tx) => {
          ran.set(key, (ran.get(key) ?? 0) + 1);
          return insert(tx, key);
        });
      });
      const results = await Promise.all(calls);
      expect(new Set(results.map(({ result }) => result.id)).size).toBe(1);
    }
    isOver = true;
    await Promise.all(purging);
    expect(ran.size).toBe(keys.length);
    const [counted] = await on.query(
      "SELECT count(*)::int AS all, count(DISTINCT key)::int AS keys, (SELECT count(*)::int FROM entries) AS entries FROM idempotency_records",
    );
    expect(counted).toEqual({ all: keys.length, keys: keys.length, entries: keys.length });
    for (const key of keys) {
      expect(await once(stores[0], call(key), add("never"))).toMatchObject({ replayed: true });
    }
  });
});

describe("a purge that finds no moment without a call", () => {
  const on = partitionedEntries(connectNodePostgres);

  it("leaves partitions alone for a minute, and waits longer each time, until it was done", async () => {
    await on.query(partitionRecords);
    const statements: string[] = [];
    await using pool = disposable(new pg.Pool({ connectionString: on.url }));
    pool.on("connect", (client) => {
      const query = client.query.bind(client) as (config: unknown, ...rest: unknown[]) => unknown; // `as`: any overload
      const logged = (config: { readonly text?: string } | string, ...rest: unknown[]) => {
        statements.push(typeof config === "string" ? config : (config.text ?? ""));
        return query(config, ...rest);
      };
      Object.assign(client, { query: logged });
    });
    const db = drizzle(pool, { schema: tables });
    const store = postgresStore(db, { now: () => on.time, purgeEveryMs: 0, partitionMs: hour });

    /** How long the changes of a purge would wait, each in milliseconds. */
    async function patienceOfPurge(): Promise<number[]> {
      statements.splice(0);
      await store.purge();
      const texts = statements.flatMap((text) => /lock_timeout = (\d+)/.exec(text)?.[1] ?? []);
      return texts.map(Number);
    }

    expect(new Set(await patienceOfPurge())).toEqual(new Set([100]));
    on.time += hour;
    const wanted = nameOf(startOf(on.time) + 2 * hour);
    const { running, release } = await startHeld(on.join(), v4());
    expect(await patienceOfPurge()).toEqual([100]);
    on.time += 59_999;
    expect(await patienceOfPurge()).toEqual([]);
    on.time += 1;
    expect(await patienceOfPurge()).toEqual([200]);
    expect(await on.partitions()).not.toContain(wanted);
    release();
    await running;
    on.time += 60_000;
    expect((await patienceOfPurge())[0]).toBe(400);
    expect(await on.partitions()).toContain(wanted);
    on.time += hour;
    expect((await patienceOfPurge())[0]).toBe(100);
  });
});

function disposable(pool: pg.Pool): pg.Pool & AsyncDisposable {
  return Object.assign(pool, { [Symbol.asyncDispose]: () => pool.end() });
}
