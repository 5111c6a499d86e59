import { eq } from "drizzle-orm";
import { type OnceOptions, once, SHARED } from "graphql-idempotent";
import { idempotencyRecords } from "graphql-idempotent/sqlite";
import { describe, expect, it, vi } from "vitest";
import { type Entries, entries, noon, openEntries, type Tx } from "../entries-database.ts";

const call: OnceOptions = { scope: SHARED, field: "add", key: "key", retention: "1s" };

function add(text: string) {
  return async (tx: Tx) => (await tx.insert(entries).values({ text }).returning())[0];
}

function rows({ database }: Entries) {
  return database.db.select().from(idempotencyRecords).orderBy(idempotencyRecords.key).all();
}

/** Records that end one second after noon, all at once. */
async function keep({ store }: Entries, count: number): Promise<void> {
  const keys = Array.from({ length: count }, (_, index) => `key ${index}`);
  await Promise.all(keys.map((key) => once(store, { ...call, key }, () => key)));
}

describe("the store's clock", () => {
  it("is the one that was given", async () => {
    await using opened = await openEntries();
    await once(opened.store, call, add("a"));
    expect(rows(opened)).toMatchObject([{ createdAt: noon, expiresAt: noon + 1_000 }]);
    expect(opened.store.now()).toBe(noon);
  });

  it("is the system's unless told otherwise", async () => {
    await using opened = await openEntries({ store: { now: Date.now } });
    const before = Date.now();
    const { createdAt } = await once(opened.store, call, add("a"));
    expect(createdAt.getTime()).toBeGreaterThanOrEqual(before);
    expect(createdAt.getTime()).toBeLessThanOrEqual(Date.now());
  });

  it("dates a record at the end of its call, so that the whole retention is left", async () => {
    await using opened = await openEntries();
    const { createdAt } = await once(opened.store, call, () => {
      opened.clock.now += 500;
      return 1;
    });
    expect(createdAt).toEqual(new Date(noon + 500));
  });
});

describe("an expired record", () => {
  it("never replays, though it has not been purged, and is replaced by the new one", async () => {
    await using opened = await openEntries();
    await once(opened.store, { ...call, input: "old arguments" }, add("a"));
    opened.clock.now = noon + 999;
    expect(await once(opened.store, { ...call, input: "old arguments" }, add("b"))).toMatchObject({
      replayed: true,
    });
    opened.clock.now = noon + 1_000;
    expect(opened.store.find({ scope: "", field: "add", key: "key" })).toBeUndefined();
    expect(rows(opened)).toHaveLength(1);
    expect(await once(opened.store, call, add("b"))).toMatchObject({
      replayed: false,
      result: { text: "b" },
    });
    expect(rows(opened)).toMatchObject([
      { createdAt: noon + 1_000, resourceId: "2", payload: '{"id":2,"text":"b"}' },
    ]);
    expect(await once(opened.store, call, add("c"))).toMatchObject({ replayed: true, result: { text: "b" } });
  });

  it("stays when the call that would replace it fails", async () => {
    await using opened = await openEntries();
    await once(opened.store, call, add("a"));
    opened.clock.now = noon + 1_000;
    const failing = once(opened.store, call, () => {
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(rows(opened)).toMatchObject([{ createdAt: noon }]);
  });

  it("runs once more, however many duplicates come at that moment", async () => {
    await using opened = await openEntries();
    await once(opened.store, call, add("a"));
    opened.clock.now = noon + 1_000;
    const duplicates = Array.from({ length: 50 }, () => once(opened.store, call, add("b")));
    const results = await Promise.all(duplicates);
    expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(opened.texts()).toEqual(["a", "b"]);
  });
});

describe("purge()", () => {
  it("deletes what has expired and nothing else, and tells how many that were", async () => {
    await using opened = await openEntries();
    await keep(opened, 7);
    await once(opened.store, { ...call, key: "live", retention: "1d" }, () => 1);
    expect(await opened.store.purge()).toBe(0);
    opened.clock.now = noon + 1_000;
    expect(await opened.store.purge()).toBe(7);
    expect(rows(opened)).toMatchObject([{ key: "live" }]);
  });

  it("goes in steps of a hundred, between which others write", async () => {
    await using opened = await openEntries();
    await keep(opened, 250);
    opened.clock.now = noon + 1_000;
    const done: string[] = [];
    const purged = opened.store.purge().then((count) => {
      done.push("purge");
      return count;
    });
    const left = opened.database
      .write((tx) => tx.$count(idempotencyRecords))
      .then((count) => {
        done.push("write");
        return count;
      });
    expect(await left).toBe(150);
    expect(await purged).toBe(250);
    expect(done).toEqual(["write", "purge"]);
    expect(rows(opened)).toEqual([]);
  });

  it("runs by itself", async () => {
    await using opened = await openEntries({ store: { purgeEveryMs: 5 } });
    await keep(opened, 3);
    await once(opened.store, { ...call, key: "live", retention: "1d" }, () => 1);
    opened.clock.now = noon + 1_000;
    await vi.waitFor(() => expect(rows(opened)).toMatchObject([{ key: "live" }]));
  });

  it("stops with the database, and says so to who calls it", async () => {
    const opened = await openEntries({ store: { purgeEveryMs: 1 } });
    await opened[Symbol.asyncDispose]();
    await expect(opened.store.purge()).rejects.toMatchObject({ code: "IDEMPOTENCY_STORE_UNAVAILABLE" });
  });
});

describe("a look-up", () => {
  it("does not wait for the writer", async () => {
    await using opened = await openEntries();
    await once(opened.store, call, add("a"));
    let found: unknown;
    await opened.database.write(async (tx) => {
      await add("b")(tx);
      found = await once(opened.store, call, add("c"));
    });
    expect(found).toMatchObject({ replayed: true, result: { text: "a" } });
  });

  it("fails as unavailable, not as a missing record, when the database is closed", async () => {
    const opened = await openEntries();
    await once(opened.store, call, add("a"));
    await opened[Symbol.asyncDispose]();
    await expect(once(opened.store, call, add("b"))).rejects.toMatchObject({
      code: "IDEMPOTENCY_STORE_UNAVAILABLE",
    });
  });
});

describe("the table of records", () => {
  it("has the key beside the resource's ID and the response, readable as they are", async () => {
    await using opened = await openEntries();
    await once(opened.store, { ...call, scope: "alice" }, add("a"));
    const found = opened.database.db
      .select()
      .from(idempotencyRecords)
      .where(eq(idempotencyRecords.resourceId, "1"))
      .get();
    expect(found).toMatchObject({
      scope: "alice",
      field: "add",
      key: "key",
      resourceId: "1",
      format: "json",
      payload: '{"id":1,"text":"a"}',
    });
  });
});
