import Sqlite from "better-sqlite3";
import { describe, expect, it } from "vitest";
import { type Answer, startServer } from "../start-server.ts";
import { call, newKey, refusal } from "./calls.ts";

// Rows of the table of cases in PROTOCOL.md, over HTTP: stores that fail.

describe("a store that", () => {
  const unavailable = {
    status: 503,
    retryAfter: "1",
    message: expect.stringContaining("Retry with the same key"),
    code: "IDEMPOTENCY_STORE_UNAVAILABLE",
    retryable: true,
    safeToUseNewKey: false,
  };

  it("is locked for too long answers 503, and the retry runs", async () => {
    await using locked = await startServer({ database: { lockWaitMs: 20 } });
    const key = newKey();
    const other = new Sqlite(locked.database.file);
    other.exec("BEGIN IMMEDIATE");
    expect(refusal(await locked.ask(call("createOrder", key)))).toEqual({ ...unavailable, key });
    other.close();
    expect(refusalOrReplayed(await locked.ask(call("createOrder", key)))).toBe(false);
    expect(await locked.countOrders()).toBe(1);
  });

  it("is full answers 503, and has neither effect nor record", async () => {
    await using full = await startServer({
      database: { configure: (connection) => connection.pragma("max_page_count = 1") }, // what there is, and no more
    });
    const key = newKey();
    const text = "x".repeat(100_000);
    expect(refusal(await full.ask(call("createOrder", key, `item: "${text}"`)))).toEqual({
      ...unavailable,
      key,
    });
    expect(await full.countOrders()).toBe(0);
    expect(refusalOrReplayed(await full.ask(call("createOrder", key)))).toBe(false);
  });

  it("is read-only answers 503", async () => {
    await using readonly = await startServer({
      database: { configure: (connection) => connection.pragma("query_only = ON") },
    });
    const key = newKey();
    expect(refusal(await readonly.ask(call("createOrder", key)))).toEqual({ ...unavailable, key });
  });

  it("can't be reached answers 503", async () => {
    await using closed = await startServer();
    await closed.database.close();
    const key = newKey();
    expect(refusal(await closed.ask(call("createOrder", key)))).toEqual({ ...unavailable, key });
  });

  function refusalOrReplayed({ body }: Answer) {
    return body.errors ?? body.extensions.idempotency[0].replayed;
  }
});
