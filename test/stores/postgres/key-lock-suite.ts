import { type OnceOptions, once, onceExternal } from "graphql-idempotent";
import { afterEach, expect, it, vi } from "vitest";
import { held } from "../store-suite/entries.ts";
import { heldByAnother, payment, twoProcesses } from "../store-suite/two-processes.ts";
import { settlesOrWaits, untilWaiting } from "./lock-waits.ts";
import { insert, type OpenPostgresEntries, type PostgresEntries, type Tx } from "./postgres-suite.ts";

const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key" };

function add(text: string) {
  return (tx: Tx) => insert(tx, text);
}

/** Who waits for the lock of a key, and for how long. */
export function keyLockSuite<OwnTx extends Tx>(open: OpenPostgresEntries<OwnTx>): void {
  const on = twoProcesses<OwnTx, PostgresEntries<OwnTx>>(open);
  const releases: (() => void)[] = [];

  afterEach(() => {
    vi.useRealTimers();
    for (const release of releases.splice(0)) release();
  });

  /** A call that holds the lock of its key until it is released. */
  async function startHeld(store = on.here, options = call) {
    const { run, started, release } = held(add("held"));
    const running = once(store, options, run);
    releases.push(release);
    await started;
    return { running, release };
  }

  it("holds up nobody who sends the key in another scope or for another field", async () => {
    const { running, release } = await startHeld();
    for (const other of [{ scope: "bob" }, { field: "entries.remove" }]) {
      const options = { ...call, ...other, concurrent: "REJECT" } as const;
      expect(await once(on.there, options, () => "ran")).toMatchObject({ result: "ran", replayed: false });
    }
    release();
    await running;
  });

  it("is waited for no longer than is left of a call's bound, after its wait in its own process", async () => {
    const first = await startHeld(on.here);
    const next = startHeld(on.there);
    await untilWaiting(on.opened, 1);
    vi.useFakeTimers({ toFake: ["performance"] });
    const late = once(on.here, { ...call, waitMs: 60_000 }, add("late"));
    late.catch(() => {}); // it is looked at below
    await on.here.find({ scope: "alice", field: "entries.add", key: "key" }); // look-ups are answered in their order
    await new Promise((resolve) => setImmediate(resolve));
    vi.advanceTimersByTime(60_000);
    first.release(new Error("The first failed."));
    await expect(first.running).rejects.toThrow("The first failed.");
    await next;
    expect(await settlesOrWaits(on.opened, late)).toBe("settles");
    await expect(late).rejects.toMatchObject(heldByAnother);
  });

  it("is waited for a moment, not for ever, by a call whose bound is a part of a millisecond", async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    await startHeld(on.here);
    const duplicate = once(on.there, { ...call, waitMs: 0.5 }, add("late"));
    duplicate.catch(() => {}); // it is looked at below
    expect(await settlesOrWaits(on.opened, duplicate, { forMs: 2_000 })).toBe("settles");
    await expect(duplicate).rejects.toMatchObject(heldByAnother);
  });

  it("is waited for by a claim of the key, which finds the record then", async () => {
    const { running, release } = await startHeld(on.here);
    const run = vi.fn();
    const claiming = onceExternal(on.there, call, run);
    expect(await settlesOrWaits(on.opened, claiming)).toBe("waits");
    release();
    expect(await claiming).toEqual({ ...(await running), replayed: true });
    expect(run).not.toHaveBeenCalled();
  });

  it("is waited for by a run whose claim has expired, and which then can save nothing", async () => {
    const late = await on.start(on.here, { ...payment, retention: "1s" });
    on.opened.clock.now += 1_000;
    const { running, release } = await startHeld(on.there, payment);
    const step = late.external.step("charge", () => "late");
    step.catch(() => {}); // it is looked at below
    expect(await settlesOrWaits(on.opened, step)).toBe("waits");
    release();
    await running;
    await expect(step).rejects.toMatchObject(heldByAnother);
  });
}
