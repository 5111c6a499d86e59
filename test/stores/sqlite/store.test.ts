import Sqlite from "better-sqlite3";
import { type OnceOptions, once, SHARED } from "graphql-idempotent";
import { idempotencyRecords } from "graphql-idempotent/sqlite";
import { expect, it, onTestFinished, vi } from "vitest";
import { entries, openEntries, type Tx } from "./entries-database.ts";

const call: OnceOptions = { scope: SHARED, field: "add", key: "key", retention: "1s" };

function add(text: string) {
  return async (tx: Tx) => (await tx.insert(entries).values({ text }).returning())[0];
}

it("a purge goes in steps of a hundred, between which others write", async () => {
  await using opened = await openEntries();
  const keys = Array.from({ length: 250 }, (_, index) => `key ${index}`);
  await Promise.all(keys.map((key) => once(opened.store, { ...call, key }, () => key)));
  opened.clock.now += 1_000;
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
  expect(await opened.database.db.$count(idempotencyRecords)).toBe(0);
});

it("a purge stops with the database: its timer ends, and who calls it is told", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  onTestFinished(() => void vi.useRealTimers());
  const opened = await openEntries({ store: { purgeEveryMs: 1 } });
  expect(vi.getTimerCount()).toBe(1);
  await opened[Symbol.asyncDispose]();
  expect(vi.getTimerCount()).toBe(0);
  await expect(opened.store.purge()).rejects.toMatchObject({ code: "IDEMPOTENCY_STORE_UNAVAILABLE" });
});

it("a replay does not wait for the lock of another process", async () => {
  await using opened = await openEntries();
  const first = await once(opened.store, call, add("a"));
  const other = new Sqlite(opened.database.file);
  try {
    other.exec("BEGIN IMMEDIATE");
    expect(await once(opened.store, call, add("b"))).toEqual({ ...first, replayed: true });
  } finally {
    other.close();
  }
});

it("a look-up that waits when the database closes is answered, and one that comes then is too", async () => {
  const opened = await openEntries();
  const first = await once(opened.store, call, add("a"));
  const waiting = once(opened.store, call, add("b"));
  const closed = opened[Symbol.asyncDispose]();
  const late = once(opened.store, call, add("c"));
  const replay = { ...first, replayed: true };
  expect(await Promise.allSettled([waiting, late])).toEqual([
    { status: "fulfilled", value: replay },
    { status: "fulfilled", value: replay },
  ]);
  await closed;
});

it("a look-up fails as unavailable, not as a missing record, when the database is closed", async () => {
  const opened = await openEntries();
  await once(opened.store, call, add("a"));
  await opened[Symbol.asyncDispose]();
  await expect(once(opened.store, call, add("b"))).rejects.toMatchObject({
    code: "IDEMPOTENCY_STORE_UNAVAILABLE",
  });
});

it("a scope may hold any character, and none of them makes it another's", async () => {
  await using opened = await openEntries();
  const others: OnceOptions[] = [
    { scope: "alice", field: "entries.add", key: "key" },
    { scope: "entries.add\0key\0alice", field: "a", key: "key" },
    { scope: "key\0alice", field: "entries.add", key: "key" },
  ];
  for (const expected of [false, true]) {
    const results = await Promise.all(
      others.map((other, index) => once(opened.store, other, add(`${index}`))),
    );
    expect(results.map(({ replayed }) => replayed)).toEqual(others.map(() => expected));
    expect(results.map(({ result }) => result?.text)).toEqual(others.map((_, index) => `${index}`));
  }
});
