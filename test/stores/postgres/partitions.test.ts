import { setTimeout as sleep } from "node:timers/promises";
import { type OnceOptions, once } from "graphql-idempotent";
import { partitionRecords } from "graphql-idempotent/postgres";
import { v4, v7 } from "uuid";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connectNodePostgres, connectPostgresJs } from "./connect.ts";
import { type EmptyDatabase, openEmptyDatabase } from "./entries-database.ts";
import { insert, postgresSuite, type Tx } from "./postgres-suite.ts";

const hour = 3_600_000;
const partitionMs = hour;
const connects = [
  ["node-postgres", connectNodePostgres],
  ["postgres.js", connectPostgresJs],
] as const;

describe("with a partitioned table", () => postgresSuite(connectNodePostgres, partitionRecords));

describe.each(connects)("the purge of a partitioned table, over %s", (_name, connect) => {
  let database: EmptyDatabase;
  let disposables: AsyncDisposable[];
  let time: number;

  beforeEach(async () => {
    database = await openEmptyDatabase();
    disposables = [database];
    time = (Math.floor(Date.now() / hour) + 1) * hour + 10 * 60_000; // the first partition ends before it
  });

  afterEach(async () => {
    for (const one of disposables.reverse()) await one[Symbol.asyncDispose]();
  });

  function join(options = {}) {
    const process = connect(database.url, { now: () => time, purgeEveryMs: 0, partitionMs, ...options });
    disposables.push(process);
    return process;
  }

  const call = (key: string, retention: OnceOptions["retention"] = "24h"): OnceOptions => ({
    ...{ scope: "alice", field: "entries.add", key },
    retention,
  });
  const keyAt = (msecs: number) => v7({ msecs });
  const add = (text: string) => (tx: Tx) => insert(tx, text);

  async function recordsByPartition(): Promise<Record<string, number>> {
    const rows = await database.query(
      "SELECT tableoid::regclass::text AS name, count(*)::int AS count FROM idempotency_records GROUP BY 1",
    );
    return Object.fromEntries(rows.map(({ name, count }) => [shortName(name), Number(count)]));
  }

  async function partitions(): Promise<string[]> {
    const rows = await database.query(
      "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'idempotency_records'::regclass ORDER BY 1",
    );
    return rows.map(({ name }) => shortName(name));
  }

  function shortName(name: unknown): string {
    return String(name).replace("idempotency_records_", "");
  }

  function nameOf(start: number): string {
    return new Date(start).toISOString().replaceAll(/[-:.]/g, "").toLowerCase();
  }

  const startOf = (at: number) => Math.floor(at / hour) * hour;

  it("keeps the records of the plain table", async () => {
    const keys = [v7(), v4(), "a", "ünï", `${v7()}:add`, v7().toUpperCase()];
    const before = join().store;
    for (const key of keys) await once(before, call(key), add(key));
    await database.query(partitionRecords);
    const after = join().store;
    for (const key of keys) {
      const retried = await once(after, call(key), add("never"));
      expect(retried).toMatchObject({ result: { text: key }, replayed: true });
    }
  });

  it("makes partitions for this period and the next two, which receive the keys of their time", async () => {
    await database.query(partitionRecords);
    const { store } = join();
    expect(await store.purge()).toBe(0);
    const starts = [0, 1, 2].map((nth) => startOf(time) + nth * hour);
    expect(await partitions()).toEqual([...starts.map(nameOf), "high", "low", "rest"]);
    await store.purge();
    expect(await partitions()).toHaveLength(6);
    const keys = [keyAt(time), `${keyAt(time)}:add`, keyAt(time + 2 * hour), keyAt(time + 3 * hour)];
    for (const key of [...keys, keyAt(time - 2 * hour), "0", "f"]) await once(store, call(key), add(key));
    expect(await recordsByPartition()).toEqual({
      [nameOf(startOf(time))]: 2,
      [nameOf(startOf(time) + 2 * hour)]: 1,
      low: 1,
      high: 1,
      rest: 2, // one of an earlier time, one too far ahead
    });
  });

  it("moves a record that came before its partition, and still replays it", async () => {
    await database.query(partitionRecords);
    const { store } = join();
    const early = keyAt(time + 5 * hour);
    await once(store, call(early, "30d"), add("early"));
    expect(await recordsByPartition()).toEqual({ rest: 1 });
    time += 4 * hour;
    await store.purge();
    expect(await recordsByPartition()).toEqual({ [nameOf(startOf(time) + hour)]: 1 });
    expect(await once(store, call(early, "30d"), add("never"))).toMatchObject({ replayed: true });
  });

  it("drops a partition once all its records have expired, however long each is kept", async () => {
    await database.query(partitionRecords);
    const { store } = join();
    await store.purge();
    const partition = nameOf(startOf(time));
    const [short, long] = [keyAt(time), keyAt(time)];
    await once(store, call(short, "2h"), add("short"));
    await once(store, call(long, "30h"), add("long"));
    time += 25 * hour;
    await store.purge();
    expect(await partitions()).toContain(partition);
    expect(await once(store, call(long, "30h"), add("never"))).toMatchObject({ replayed: true });
    await expect(once(store, call(short, "2h"), add("never"))).rejects.toMatchObject({
      code: "IDEMPOTENCY_KEY_EXPIRED",
    });
    time += 10 * hour;
    await store.purge();
    expect(await partitions()).not.toContain(partition);
    expect(await recordsByPartition()).toEqual({});
  });

  it("keeps a partition for a record that was written after its time, and one whose retention was longer", async () => {
    await database.query(partitionRecords);
    const { store } = join();
    await store.purge();
    const old = keyAt(time);
    time += 20 * hour; // the client has kept its key for a long time
    await once(store, call(old, "24h"), add("old"));
    time += 20 * hour;
    await store.purge();
    expect(await recordsByPartition()).toMatchObject({ [nameOf(startOf(time - 40 * hour))]: 1 });
    time += 5 * hour;
    await store.purge();
    expect(await recordsByPartition()).toEqual({});
  });

  it("deletes records row by row if their keys contain no time", async () => {
    await database.query(partitionRecords);
    const { store } = join();
    for (const key of ["0", "f", "a", "00"]) await once(store, call(key, "1h"), add(key));
    await once(store, call("live"), add("live"));
    time += 2 * hour;
    expect(await store.purge()).toBe(4);
    expect(await recordsByPartition()).toEqual({ high: 1 });
    expect(await once(store, call("live"), add("never"))).toMatchObject({ replayed: true });
    expect(await once(store, call("f"), add("again"))).toMatchObject({ replayed: false });
  });

  it("waits for no call: the partition of a running call stays, and so does its record", async () => {
    await database.query(partitionRecords);
    const { store } = join();
    await store.purge();
    const key = keyAt(time);
    const partition = nameOf(startOf(time));
    time += 2 * hour;
    const other = join({ now: () => time + 30 * hour }).store; // by its clock, all of that time is over
    let purged = -1;
    const running = once(store, call(key), async (tx: Tx) => {
      purged = await other.purge();
      return insert(tx, "slow");
    });
    expect(await running).toMatchObject({ replayed: false });
    expect(purged).toBe(0);
    expect(await partitions()).toContain(partition);
    expect(await once(store, call(key), add("never"))).toMatchObject({ replayed: true });
  });

  it("waits longer the next time when calls last long", async () => {
    await database.query(partitionRecords);
    const { store } = join();
    const { store: other } = join();
    await store.purge();
    time += hour;
    const wanted = nameOf(startOf(time) + 2 * hour);

    /** A call that lasts until it is told to end. */
    async function lasting() {
      let begin = () => {};
      let end = () => {};
      const begun = new Promise<void>((resolve) => {
        begin = resolve;
      });
      const ended = new Promise<void>((resolve) => {
        end = resolve;
      });
      const running = once(other, call(v4()), async (_tx: Tx) => {
        begin();
        await ended;
      });
      await begun;
      return { running, end };
    }

    const first = await lasting();
    await store.purge(); // gives up after 100 ms
    first.end();
    await first.running;
    expect(await partitions()).not.toContain(wanted);
    time += 61_000;
    const second = await lasting();
    const purging = store.purge();
    await sleep(150);
    second.end();
    await second.running;
    await purging;
    expect(await partitions()).toContain(wanted);
  });

  it("runs each call once while time passes over the ends of partitions", { timeout: 60_000 }, async () => {
    await database.query(partitionRecords);
    const processes = [join(), join(), join()];
    const ran = new Map<string, number>();
    let isOver = false;
    const purging = processes.map(async ({ store }) => {
      while (!isOver) await store.purge();
    });
    const keys = Array.from({ length: 60 }, (_, nth) => keyAt(time + (nth - 5) * (hour / 12)));
    for (const key of keys) {
      time += hour / 12; // keys are made before, in and ahead of the partitions of their time
      const calls = Array.from({ length: 9 }, async (_, nth) => {
        await sleep(Math.random() * 20);
        return once(processes[nth % 3]?.store as never, call(key), async (tx: Tx) => {
          ran.set(key, (ran.get(key) ?? 0) + 1);
          return insert(tx, key);
        });
      });
      const results = await Promise.all(calls);
      expect(new Set(results.map(({ result }) => (result as { id: number }).id)).size).toBe(1);
    }
    isOver = true;
    await Promise.all(purging);
    expect(ran.size).toBe(keys.length);
    const [counted] = await database.query(
      "SELECT count(*)::int AS all, count(DISTINCT key)::int AS keys, (SELECT count(*)::int FROM entries) AS entries FROM idempotency_records",
    );
    expect(counted).toEqual({ all: keys.length, keys: keys.length, entries: keys.length });
    for (const key of keys) {
      expect(await once(processes[0]?.store as never, call(key), add("never"))).toMatchObject({
        replayed: true,
      });
    }
  });

  it("keeps keys unique across all partitions by a constraint of the database", async () => {
    await database.query(partitionRecords);
    const { store } = join();
    await store.purge();
    for (const key of [keyAt(time), keyAt(time + 9 * hour), v4()]) {
      await once(store, call(key), add(key));
      const copy = "INSERT INTO idempotency_records SELECT * FROM idempotency_records WHERE key";
      await expect(database.query(`${copy} = '${key}'`)).rejects.toMatchObject({ code: "23505" });
    }
  });

  it("warns of a plain table, and purges it row by row", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockReturnValue();
    const { store } = join();
    await once(store, call("a", "1h"), add("a"));
    time += 2 * hour;
    expect(await store.purge()).toBe(1);
    await store.purge();
    expect(warn.mock.calls).toEqual([[expect.stringContaining("requires a partitioned table")]]);
    warn.mockRestore();
  });

  it.each([0, 59_999, 3_600_000.5, "1h"])("refuses a period of %j", (period) => {
    expect(() => join({ partitionMs: period })).toThrow("partitionMs must be a number of milliseconds");
  });
});
