import Sqlite from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { type Entries, entries, openEntries } from "./entries-database.ts";

const unavailable = { code: "IDEMPOTENCY_STORE_UNAVAILABLE" };

let opened: Entries;
let other: Sqlite.Database;

beforeEach(async () => {
  opened = await openEntries({ database: { lockWaitMs: 400 } });
  other = new Sqlite(opened.database.file);
});

afterEach(async () => {
  other.close();
  await opened[Symbol.asyncDispose]();
});

function insert(text: string): Promise<unknown> {
  return opened.database.write((tx) => tx.insert(entries).values({ text }).run().changes);
}

describe("a lock of another process", () => {
  it("is waited for, and the event loop goes on meanwhile", async () => {
    other.exec("BEGIN IMMEDIATE");
    const waiting = insert("waited");
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(opened.texts()).toEqual([]);
    other.exec("COMMIT");
    await waiting;
    expect(opened.texts()).toEqual(["waited"]);
  });

  it("is waited for no longer than lockWaitMs, and the next call finds it free", async () => {
    other.exec("BEGIN IMMEDIATE");
    await expect(insert("given up")).rejects.toMatchObject(unavailable);
    other.exec("COMMIT");
    await insert("free");
    expect(opened.texts()).toEqual(["free"]);
  });

  it("is waited for by each call for lockWaitMs of its own: who came later is not refused with the first", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    onTestFinished(() => void vi.useRealTimers());
    other.exec("BEGIN IMMEDIATE");
    const early = insert("early");
    vi.advanceTimersByTime(300);
    const late = insert("late");
    const outcomes = Promise.allSettled([early, late]);
    vi.advanceTimersByTime(100);
    await expect(early).rejects.toMatchObject(unavailable);
    other.exec("COMMIT");
    expect(await outcomes).toMatchObject([{ status: "rejected" }, { status: "fulfilled" }]);
    expect(opened.texts()).toEqual(["late"]);
  });
});
