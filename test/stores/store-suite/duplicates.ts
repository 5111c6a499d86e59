import { type OnceOptions, once, type Store } from "graphql-idempotent";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type Entries, held, type OpenEntries } from "./entries.ts";

const call = { scope: "alice", field: "entries.add", key: "key" } satisfies OnceOptions;
const stillRunning = { code: "IDEMPOTENCY_CONCURRENT_REQUEST" };

/** Lets everything happen that needs no more than the event loop. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** What becomes of calls that come while one with their key runs, whatever the store. */
export function duplicateSuite<Tx>(open: OpenEntries<Tx>): void {
  let opened: Entries<Tx>;
  let store: Store<Tx>;

  beforeEach(async () => {
    opened = await open();
    store = opened.store;
  });

  afterEach(async () => {
    vi.useRealTimers();
    await opened[Symbol.asyncDispose]();
  });

  function add(text: string) {
    return (tx: Tx) => opened.insert(tx, text);
  }

  /** A call that has written an entry, and lasts until it is released. */
  async function startHeld(options: OnceOptions = call) {
    const { run, started, release } = held(add("a"));
    const running = once(store, options, run);
    await started;
    return { running, release };
  }

  /** Until the duplicates that came before have looked for the record, and wait for the call. */
  async function duplicatesWait(): Promise<void> {
    await store.find(call); // look-ups are answered in their order
    await settled();
  }

  it("waits for its result", async () => {
    const { running, release } = await startHeld();
    const duplicate = once(store, call, add("b"));
    release();
    expect(await duplicate).toEqual({ ...(await running), replayed: true });
  });

  it("is rejected with REJECT before any other's wait is over, and replays when the first is done", async () => {
    const { running, release } = await startHeld();
    const rejecting = { ...call, concurrent: "REJECT" } as const;
    const order: string[] = [];
    const rejected = once(store, { ...rejecting, waitMs: 60_000 }, add("b")).catch((error) => {
      order.push("REJECT");
      return error;
    });
    await once(store, { ...call, waitMs: 50 }, add("c")).catch(() => order.push("WAIT"));
    expect(order).toEqual(["REJECT", "WAIT"]);
    expect(await rejected).toMatchObject({
      ...stillRunning,
      extensions: { idempotency: { key: "key", retryable: true, safeToUseNewKey: false } },
    });
    release();
    await running;
    expect(await once(store, rejecting, add("b"))).toMatchObject({ replayed: true });
  });

  it("waits no longer than its bound, and the first is not disturbed by that", async () => {
    const { running, release } = await startHeld();
    await expect(once(store, { ...call, waitMs: 5 }, add("b"))).rejects.toMatchObject(stillRunning);
    release();
    expect(await running).toMatchObject({ replayed: false });
  });

  it("waits no longer than its bound in all, however many calls fail ahead of it", async () => {
    const first = await startHeld();
    vi.useFakeTimers({ toFake: ["performance"] });
    const second = held(add("b"));
    const next = once(store, call, second.run);
    const order: string[] = [];
    const early = once(store, { ...call, waitMs: 60_000 }, add("c")).catch(() => order.push("early"));
    await duplicatesWait();
    vi.advanceTimersByTime(60_000);
    first.release(new Error("The first failed."));
    await expect(first.running).rejects.toThrow("The first failed.");
    await second.started;
    await once(store, { ...call, waitMs: 50 }, add("d")).catch(() => order.push("late"));
    expect(order).toEqual(["early", "late"]);
    second.release();
    expect(await next).toMatchObject({ replayed: false });
    await early;
  });

  it("is not failed with a call that fails, but runs itself", async () => {
    const { running, release } = await startHeld();
    const duplicates = ["b", "c", "d"].map((text) => once(store, call, add(text)));
    release(new Error("The first failed."));
    await expect(running).rejects.toThrow("The first failed.");
    const results = await Promise.all(duplicates);
    expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(await opened.texts()).toHaveLength(1);
    for (const { result } of results) expect(result?.text).toBe((await opened.texts())[0]);
  });

  it("with other arguments is refused while the first still runs, and after", async () => {
    const { running, release } = await startHeld({ ...call, input: { amount: 1 } });
    const refusal = {
      code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
      extensions: { idempotency: { key: "key" } },
    };
    const other = { ...call, input: { amount: 2 } };
    await expect(once(store, other, add("b"))).rejects.toMatchObject(refusal);
    release();
    await running;
    await expect(once(store, other, add("b"))).rejects.toMatchObject(refusal);
    await expect(once(store, { ...call, input: undefined }, add("b"))).rejects.toMatchObject(refusal);
  });

  it("may differ in what is ignored", async () => {
    const ignore = ["sentAt", "lines.note"];
    const input = (note: string) => ({ sentAt: note, lines: [{ note, amount: 1 }] });
    const { running, release } = await startHeld({ ...call, ignore, input: input("first") });
    const duplicate = once(store, { ...call, ignore, input: input("again") }, add("b"));
    release();
    await running;
    expect(await duplicate).toMatchObject({ replayed: true });
  });

  it("runs in one of two stores on the database, and replays in the other", async () => {
    const stores = [store, await opened.another()];
    const calls = Array.from({ length: 40 }, (_, index) => once(stores[index % 2] ?? store, call, add("a")));
    const results = await Promise.all(calls);
    expect(await opened.texts()).toEqual(["a"]);
    expect(results.filter(({ replayed }) => !replayed)).toHaveLength(1);
  });

  it("with other arguments is refused in another store too, also when it waited for one that was refused", async () => {
    const otherStore = await opened.another();
    const { running, release } = await startHeld({ ...call, input: 1 });
    // Both look for the record before it is there; then the one waits for the lock, the other for the one.
    const late = ["b", "c"].map((text) => once(otherStore, { ...call, input: 2 }, add(text)));
    const refused = Promise.allSettled(late);
    await settled();
    release();
    await running;
    for (const outcome of await refused) {
      expect(outcome).toMatchObject({
        status: "rejected",
        reason: { code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH" },
      });
    }
    expect(await opened.texts()).toEqual(["a"]);
  });
}
