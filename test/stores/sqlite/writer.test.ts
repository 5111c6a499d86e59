import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { sql } from "drizzle-orm";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { once } from "graphql-idempotent";
import {
  type Database,
  type DatabaseOptions,
  idempotencyRecords,
  openDatabase,
  sqliteStore,
  type Transaction,
} from "graphql-idempotent/sqlite";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createTables } from "../../create-tables.ts";

const entries = sqliteTable("entries", { id: integer("id").primaryKey(), text: text("text").notNull() });
const tables = { entries, idempotencyRecords };
type Tables = typeof tables;
type Tx = Transaction<Tables>;

let directory: string;
let observer: Sqlite.Database;
let opened: Database<Tables>[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "graphql-idempotent-writer-"));
  await createTables(join(directory, "entries.db"), tables);
  observer = new Sqlite(join(directory, "entries.db"));
  observer.pragma("journal_mode = WAL");
  observer.exec(`
    CREATE TABLE owners (id INTEGER PRIMARY KEY);
    CREATE TABLE owned (owner INTEGER REFERENCES owners (id) DEFERRABLE INITIALLY DEFERRED);
  `);
  opened = [];
});

afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(opened.map((database) => database.close()));
  observer.close();
  rmSync(directory, { recursive: true });
});

/** A batch ends by what a test does to it, not by how slow the machine is. */
function open(options: Partial<DatabaseOptions<Tables>> = {}): Database<Tables> {
  const database = openDatabase(join(directory, "entries.db"), {
    schema: tables,
    maxBatchMs: 60_000,
    ...options,
  });
  opened.push(database);
  return database;
}

function insertOf(text: string): (tx: Tx) => unknown {
  return (tx) => tx.insert(entries).values({ text }).run();
}

function insert(database: Database<Tables>, text: string): Promise<unknown> {
  return database.write((tx) => tx.insert(entries).values({ text }));
}

/** What another connection sees. */
function texts(): unknown[] {
  return observer.prepare("SELECT text FROM entries ORDER BY id").pluck().all();
}

/** SQLite's own count of other connections' commits, since it was last asked. */
function watchCommits(): () => boolean {
  let version = observer.pragma("data_version", { simple: true });
  return () => {
    const before = version;
    version = observer.pragma("data_version", { simple: true });
    return version !== before;
  };
}

function gate(): { readonly passed: Promise<void>; readonly open: () => void } {
  let open = (): void => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

const unavailable = { code: "IDEMPOTENCY_STORE_UNAVAILABLE" };

describe("a batch", () => {
  it("becomes visible in one commit, and only then are its callers told", async () => {
    const database = open();
    const hasCommitted = watchCommits();
    const { passed, open: release } = gate();
    const seen: unknown[] = [];
    const calls = ["a", "b", "c"].map((text) =>
      database
        .write(async (tx) => {
          await tx.insert(entries).values({ text });
          if (text === "c") await passed;
        })
        .then(() => seen.push(texts())),
    );
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect([texts(), seen, hasCommitted()]).toEqual([[], [], false]);
    release();
    await Promise.all(calls);
    expect(seen).toEqual([
      ["a", "b", "c"],
      ["a", "b", "c"],
      ["a", "b", "c"],
    ]);
  });

  it("takes in the calls of later turns, as long as each turn brings more, and no more than maxBatch", async () => {
    const database = open({ maxBatch: 4 });
    const seen: unknown[] = [];
    const turns = [["a", "b"], ["c"], ["d"], ["e"]];
    const calls: Promise<unknown>[] = [];
    for (const turn of turns) {
      for (const text of turn) calls.push(insert(database, text).then(() => seen.push(texts())));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(calls);
    const first = ["a", "b", "c", "d"];
    expect(seen).toEqual([first, first, first, first, [...first, "e"]]);
  });

  it("goes on without a call that throws, and nothing of that call is written", async () => {
    const database = open();
    const calls = [
      insert(database, "before"),
      database.write(async (tx) => {
        await tx.insert(entries).values({ text: "half done" });
        throw new Error("stumbled");
      }),
      insert(database, "after"),
    ];
    const [, failed] = await Promise.allSettled(calls);
    expect(failed).toMatchObject({ status: "rejected", reason: { message: "stumbled" } });
    expect(texts()).toEqual(["before", "after"]);
  });

  it("fails as a whole when SQLite rolls it back, and a call of the next batch is not concerned", async () => {
    const database = open();
    await insert(database, "there");
    const results = await Promise.allSettled([
      insert(database, "neighbour"),
      database.write((tx) => tx.run(sql`INSERT OR ROLLBACK INTO entries (id, text) VALUES (1, 'again')`)),
      insert(database, "not yet begun"),
    ]);
    expect(results.map((result) => (result.status === "rejected" ? result.reason.code : "done"))).toEqual([
      "IDEMPOTENCY_STORE_UNAVAILABLE",
      "IDEMPOTENCY_STORE_UNAVAILABLE",
      "done",
    ]);
    expect(texts()).toEqual(["there", "not yet begun"]);
  });

  it("lets no statement through once SQLite has rolled it back, though the call goes on", async () => {
    const database = open();
    await insert(database, "there");
    const call = database.write(async (tx) => {
      try {
        await tx.run(sql`INSERT OR ROLLBACK INTO entries (id, text) VALUES (1, 'again')`);
      } catch {
        await tx.insert(entries).values({ text: "in a transaction of its own" });
      }
    });
    await expect(call).rejects.toMatchObject(unavailable);
    expect(texts()).toEqual(["there"]);
  });

  it("that can't commit fails as a whole, once; then calls of the kind to blame fail alone", async () => {
    const store = sqliteStore(open(), { purgeEveryMs: 0 });
    const neighbour = () => once(store, { scope: "a", field: "insert", key: "1" }, insertOf("neighbour"));
    const culprit = () =>
      once(store, { scope: "a", field: "adopt", key: "2" }, (tx) =>
        tx.run(sql`INSERT INTO owned (owner) VALUES (404)`),
      );
    const together = await Promise.allSettled([neighbour(), culprit()]);
    expect(together).toMatchObject([
      { status: "rejected", reason: unavailable },
      { status: "rejected", reason: unavailable },
    ]);
    expect(await Promise.allSettled([neighbour(), culprit()])).toMatchObject([
      { status: "fulfilled" },
      { status: "rejected", reason: { message: expect.stringContaining("FOREIGN KEY") } },
    ]);
    expect(texts()).toEqual(["neighbour"]);
  });

  it("takes no more calls than maxBatch allows", async () => {
    const database = open({ maxBatch: 2 });
    const seen: unknown[] = [];
    await Promise.all(
      ["a", "b", "c", "d"].map((text) => insert(database, text).then(() => seen.push(texts().length))),
    );
    expect(seen).toEqual([2, 2, 4, 4]);
  });

  it("takes no further call once it has run for maxBatchMs, though each of its calls was fast", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const store = sqliteStore(open({ maxBatchMs: 10 }), { purgeEveryMs: 0 });
    const seen: unknown[] = [];
    const calls = ["a", "b", "c", "d"].map(async (text) => {
      // Kinds of their own, so that none of them shares its commit for another reason.
      await once(store, { scope: "a", field: text, key: text }, (tx) => {
        vi.advanceTimersByTime(6);
        return insertOf(text)(tx);
      });
      seen.push(texts().length);
    });
    await Promise.all(calls);
    expect(seen).toEqual([2, 2, 4, 4]);
  });

  it("is not shared by calls of a kind that was slow, until one of them is fast", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const store = sqliteStore(open({ maxBatchMs: 50 }), { purgeEveryMs: 0 });
    const slow = (key: string, run: (tx: Tx) => unknown) =>
      once(store, { scope: "a", field: "slow", key }, run);
    const quick = (text: string) => once(store, { scope: "a", field: "quick", key: text }, insertOf(text));
    await slow("1", () => {
      vi.advanceTimersByTime(60);
    });

    const { passed, open: release } = gate();
    const [first, second] = [
      quick("alone"),
      slow("2", async (tx) => passed.then(() => insertOf("slow")(tx))),
    ];
    await first;
    expect(texts()).toEqual(["alone"]);
    release();
    await second;

    await slow("3", insertOf("fast again"));
    const together = await Promise.all([
      quick("with").then(texts),
      slow("4", insertOf("others")).then(texts),
    ]);
    expect(together).toEqual([together[0], together[0]]);
    expect(together[0]).toEqual(["alone", "slow", "fast again", "with", "others"]);
  });
});

describe("a call", () => {
  it("has the connection to itself, whatever it awaits meanwhile", async () => {
    const database = open();
    const order: string[] = [];
    const call = (name: string) =>
      database.write(async (tx) => {
        order.push(`${name} begins`);
        await new Promise((resolve) => setImmediate(resolve));
        await tx.insert(entries).values({ text: name });
        order.push(`${name} ends`);
      });
    await Promise.all([call("a"), call("b")]);
    expect(order).toEqual(["a begins", "a ends", "b begins", "b ends"]);
  });

  it("that never ends is rolled back at its deadline, and its neighbours run", async () => {
    const database = open({ deadlineMs: 50 });
    const before = insert(database, "before");
    const endless = database.write(async (tx) => {
      await tx.insert(entries).values({ text: "endless" });
      await new Promise(() => {});
    });
    const after = insert(database, "after");
    await expect(endless).rejects.toMatchObject({ code: "IDEMPOTENCY_DEADLINE_EXCEEDED" });
    await Promise.all([before, after]);
    expect(texts()).toEqual(["before", "after"]);
  });

  it("that writes without its tx is refused at once, and writes nothing at all", async () => {
    const database = open();
    let inner: Promise<unknown> = Promise.resolve();
    const outer = database.write(async (tx) => {
      await tx.insert(entries).values({ text: "outer" });
      inner = insert(database, "inner");
      inner.catch(() => {});
      await inner;
    });
    await expect(outer).rejects.toThrow("would wait for itself: write through the `tx`");
    await expect(inner).rejects.toThrow("would wait for itself: write through the `tx`");
    await insert(database, "next");
    expect(texts()).toEqual(["next"]);
  });

  it("that comes back after its deadline can't write into the transaction of another", async () => {
    const database = open({ deadlineMs: 50 });
    const { passed, open: release } = gate();
    let late: Promise<unknown> = Promise.resolve();
    const endless = database.write(async (tx) => {
      late = passed.then(() => tx.insert(entries).values({ text: "late" }));
      late.catch(() => {});
      await late;
    });
    await expect(endless).rejects.toMatchObject({ code: "IDEMPOTENCY_DEADLINE_EXCEEDED" });
    await database.write(async (tx) => {
      await tx.insert(entries).values({ text: "another" });
      release();
      await expect(late).rejects.toThrow("This transaction is over");
    });
    expect(texts()).toEqual(["another"]);
  });

  it("is refused when the queue is full, and the queue goes on", async () => {
    const database = open({ maxQueue: 2 });
    const results = await Promise.allSettled(["a", "b", "c"].map((text) => insert(database, text)));
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    expect(results[2]).toMatchObject({ reason: unavailable });
    expect(texts()).toEqual(["a", "b"]);
  });

  it("is refused once the database closes, while those in the queue are carried out", async () => {
    const database = open();
    const queued = insert(database, "queued");
    const closed = database.close();
    await expect(insert(database, "too late")).rejects.toMatchObject(unavailable);
    await Promise.all([queued, closed]);
    expect(texts()).toEqual(["queued"]);
  });
});
