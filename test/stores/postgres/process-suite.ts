import { type OnceOptions, once } from "graphql-idempotent";
import { afterEach, beforeEach, expect, it } from "vitest";
import { held } from "../store-suite/entries.ts";
import { untilWaiting } from "./lock-waits.ts";
import { insert, type OpenPostgresEntries, type PostgresEntries, type Tx } from "./postgres-suite.ts";

const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key" };

function add(text: string) {
  return (tx: Tx) => insert(tx, text);
}

/** Calls of several processes, whose transactions run concurrently. */
export function processSuite<OwnTx extends Tx>(open: OpenPostgresEntries<OwnTx>): void {
  let opened: PostgresEntries<OwnTx>;

  beforeEach(async () => {
    opened = await open();
  });

  afterEach(() => opened[Symbol.asyncDispose]());

  /** A call that has written "a", and waits to be released. */
  async function heldCall() {
    const first = held(add("a"));
    const running = once(opened.store, call, first.run);
    await first.started;
    return { first, running };
  }

  it("a duplicate waits for the call of another process, and gets its result", async () => {
    const other = await opened.another();
    const { first, running } = await heldCall();
    const duplicate = once(other, call, add("b"));
    await untilWaiting(opened, 1);
    first.release();
    expect(await duplicate).toEqual({ ...(await running), replayed: true });
    expect(await opened.texts()).toEqual(["a"]);
  });

  it("a duplicate with REJECT is refused while the call of another process runs, without waiting for it", async () => {
    const other = await opened.another();
    const { first, running } = await heldCall();
    const rejecting = { ...call, concurrent: "REJECT" } as const;
    const refusal = { code: "IDEMPOTENCY_CONCURRENT_REQUEST", key: "key" };
    await expect(once(other, rejecting, add("b"))).rejects.toMatchObject(refusal);
    first.release();
    await running;
    expect(await once(other, rejecting, add("b"))).toMatchObject({ replayed: true });
  });

  it("a duplicate waits no longer than its bound, and the first call is not disturbed by that", async () => {
    const other = await opened.another();
    const { first, running } = await heldCall();
    await expect(once(other, { ...call, waitMs: 50 }, add("b"))).rejects.toMatchObject({
      code: "IDEMPOTENCY_CONCURRENT_REQUEST",
    });
    first.release();
    expect(await running).toMatchObject({ replayed: false });
  });

  it("a duplicate runs itself when the call of another process fails", async () => {
    const other = await opened.another();
    const { first, running } = await heldCall();
    const duplicate = once(other, call, add("b"));
    await untilWaiting(opened, 1);
    first.release(new Error("The first failed."));
    await expect(running).rejects.toThrow("The first failed.");
    expect(await duplicate).toMatchObject({ replayed: false, result: { text: "b" } });
    expect(await opened.texts()).toEqual(["b"]);
  });

  it("duplicates of ten processes run once, whichever is first", async () => {
    const stores = [opened.store, ...(await Promise.all(Array.from({ length: 9 }, () => opened.another())))];
    for (let key = 0; key < 5; key++) {
      const calls = stores.map((store) => once(store, { ...call, key: `key ${key}` }, add(`${key}`)));
      const results = await Promise.all(calls);
      expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
    }
    expect(await opened.texts()).toEqual(["0", "1", "2", "3", "4"]);
  });

  it("a call does not wait for one with another key", async () => {
    const other = await opened.another();
    const { first, running } = await heldCall();
    expect(await once(other, { ...call, key: "another" }, add("b"))).toMatchObject({ replayed: false });
    first.release();
    await running;
  });

  it("a call whose field another process has claimed as EXTERNAL is refused, and does not run", async () => {
    const { scope, field, key } = { ...call, scope: "alice" };
    const claim = { fingerprint: "f", matches: () => true, leaseMs: 1_000, retentionMs: 2_000 };
    await opened.store.leases?.claim({ scope, field, key }, claim);
    await expect(once(await opened.another(), call, add("a"))).rejects.toMatchObject({
      code: "IDEMPOTENCY_CONCURRENT_REQUEST",
    });
    expect(await opened.texts()).toEqual([]);
  });

  it("a call finds the record that was written in spite of the lock, and undoes its own writes", async () => {
    // As on a database whose advisory locks do nothing: only the primary key prevents the duplicate.
    const foreign = `INSERT INTO idempotency_records (scope, field, key, fingerprint, format, payload, created_at, expires_at)
      SELECT 'alice', 'entries.add', 'key', fingerprint, 'json', '"theirs"', created_at, expires_at FROM idempotency_records WHERE key = 'another'`;
    await once(opened.store, { ...call, key: "another" }, () => null);
    let ran = 0;
    const { store } = opened.join({ rerun: true });
    const raced = once<OwnTx, unknown>(store, call, async (tx) => {
      ran += 1;
      await insert(tx, "ours");
      await opened.query(foreign);
    });
    expect(await raced).toMatchObject({ result: "theirs", replayed: true });
    expect(ran).toBe(1);
    expect(await opened.texts()).toEqual([]);
  });
}
