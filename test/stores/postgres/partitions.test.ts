import { type OnceOptions, once } from "graphql-idempotent";
import { partitionRecords } from "graphql-idempotent/postgres";
import { v4, v7 } from "uuid";
import { describe, expect, it, vi } from "vitest";
import { connectNodePostgres, connectPostgresJs } from "./connect.ts";
import { add, hour, keyAt, nameOf, partitionedEntries, startOf } from "./partitioned-entries.ts";
import { type Connect, postgresSuite, type Tx } from "./postgres-suite.ts";

describe("with a partitioned table", () => postgresSuite(connectNodePostgres, partitionRecords));

describe.each<[string, Connect<Tx>]>([
  ["node-postgres", connectNodePostgres],
  ["postgres.js", connectPostgresJs],
])("the purge of a partitioned table, over %s", (_name, connect) => {
  const on = partitionedEntries(connect);

  const call = (key: string, retention: OnceOptions["retention"] = "24h"): OnceOptions => ({
    ...{ scope: "alice", field: "entries.add", key },
    retention,
  });

  it("keeps what the plain table held", async () => {
    const keys = [v7(), v4(), "a", "ünï", `${v7()}:add`, v7().toUpperCase()];
    const before = on.join();
    for (const key of keys) await once(before, call(key), add(key));
    await on.query(partitionRecords);
    const after = on.join();
    for (const key of keys) {
      const retried = await once(after, call(key), add("never"));
      expect(retried).toMatchObject({ result: { text: key }, replayed: true });
    }
  });

  it("makes partitions for this period and the next two, in which keys of their time land", async () => {
    await on.query(partitionRecords);
    const store = on.join();
    expect(await store.purge()).toBe(0);
    const starts = [0, 1, 2].map((nth) => startOf(on.time) + nth * hour);
    expect(await on.partitions()).toEqual([...starts.map(nameOf), "high", "low", "rest"]);
    await store.purge();
    expect(await on.partitions()).toHaveLength(6);
    const keys = [
      keyAt(on.time),
      `${keyAt(on.time)}:add`,
      keyAt(on.time + 2 * hour),
      keyAt(on.time + 3 * hour),
    ];
    for (const key of [...keys, keyAt(on.time - 2 * hour), "0", "f"]) await once(store, call(key), add(key));
    expect(await on.places()).toEqual({
      [nameOf(startOf(on.time))]: 2,
      [nameOf(startOf(on.time) + 2 * hour)]: 1,
      low: 1,
      high: 1,
      rest: 2, // of a time before, and of one too far ahead
    });
  });

  it("moves what came before its partition, and it is still replayed", async () => {
    await on.query(partitionRecords);
    const store = on.join();
    const early = keyAt(on.time + 5 * hour);
    await once(store, call(early, "30d"), add("early"));
    expect(await on.places()).toEqual({ rest: 1 });
    on.time += 4 * hour;
    await store.purge();
    expect(await on.places()).toEqual({ [nameOf(startOf(on.time) + hour)]: 1 });
    expect(await once(store, call(early, "30d"), add("never"))).toMatchObject({ replayed: true });
  });

  it("drops a partition once nothing in it is live, however long each record is kept", async () => {
    await on.query(partitionRecords);
    const store = on.join();
    await store.purge();
    const partition = nameOf(startOf(on.time));
    const [short, long] = [keyAt(on.time), keyAt(on.time)];
    await once(store, call(short, "2h"), add("short"));
    await once(store, call(long, "30h"), add("long"));
    on.time += 25 * hour;
    await store.purge();
    expect(await on.partitions()).toContain(partition);
    expect(await once(store, call(long, "30h"), add("never"))).toMatchObject({ replayed: true });
    await expect(once(store, call(short, "2h"), add("never"))).rejects.toMatchObject({
      code: "IDEMPOTENCY_KEY_EXPIRED",
    });
    on.time += 10 * hour;
    await store.purge();
    expect(await on.partitions()).not.toContain(partition);
    expect(await on.places()).toEqual({});
  });

  it("keeps a partition for a record that was written after its time, and one whose retention was longer", async () => {
    await on.query(partitionRecords);
    const store = on.join();
    await store.purge();
    const old = keyAt(on.time);
    on.time += 20 * hour; // the client has kept its key for long
    await once(store, call(old, "24h"), add("old"));
    on.time += 20 * hour;
    await store.purge();
    expect(await on.places()).toMatchObject({ [nameOf(startOf(on.time - 40 * hour))]: 1 });
    on.time += 5 * hour;
    await store.purge();
    expect(await on.places()).toEqual({});
  });

  it("deletes row by row what has a key of no time", async () => {
    await on.query(partitionRecords);
    const store = on.join();
    for (const key of ["0", "f", "a", "00"]) await once(store, call(key, "1h"), add(key));
    await once(store, call("live"), add("live"));
    on.time += 2 * hour;
    expect(await store.purge()).toBe(4);
    expect(await on.places()).toEqual({ high: 1 });
    expect(await once(store, call("live"), add("never"))).toMatchObject({ replayed: true });
    expect(await once(store, call("f"), add("again"))).toMatchObject({ replayed: false });
  });

  it("has the key unique over all partitions by the database itself", async () => {
    await on.query(partitionRecords);
    const store = on.join();
    await store.purge();
    for (const key of [keyAt(on.time), keyAt(on.time + 9 * hour), v4()]) {
      await once(store, call(key), add(key));
      const copy = "INSERT INTO idempotency_records SELECT * FROM idempotency_records WHERE key";
      await expect(on.query(`${copy} = '${key}'`)).rejects.toMatchObject({ code: "23505" });
    }
  });

  it("warns of a plain table, and purges it row by row", async () => {
    const warn = vi.spyOn(process, "emitWarning").mockReturnValue();
    const store = on.join();
    await once(store, call("a", "1h"), add("a"));
    on.time += 2 * hour;
    expect(await store.purge()).toBe(1);
    await store.purge();
    expect(warn.mock.calls).toEqual([[expect.stringContaining("requires a partitioned table")]]);
    warn.mockRestore();
  });

  it.each([0, 59_999, 3_600_000.5, "1h"])("refuses a period of %j", (period) => {
    const options = { partitionMs: period as number }; // `as`: JavaScript's users can pass anything
    expect(() => on.join(options)).toThrow("partitionMs must be a number of milliseconds");
  });
});
