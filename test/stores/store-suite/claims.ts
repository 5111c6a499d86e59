import { type ExternalCall, once, onceExternal } from "graphql-idempotent";
import { expect, it, vi } from "vitest";
import type { OpenEntries } from "./entries.ts";
import { payment, twoProcesses } from "./two-processes.ts";

/** Who may claim a key, and when. */
export function claimSuite<Tx>(open: OpenEntries<Tx>): void {
  const on = twoProcesses(open);

  function fail(): never {
    throw new Error("The mailer is down");
  }

  it("goes to one of ten processes that ask for a key at once, and the others get its result", async () => {
    const stores = await Promise.all(Array.from({ length: 10 }, () => on.opened.another()));
    for (let nth = 0; nth < 10; nth++) {
      const run = vi.fn(async () => nth);
      const options = { ...payment, key: `key ${nth}` };
      const results = await Promise.all(stores.map((store) => onceExternal(store, options, run)));
      expect(run).toHaveBeenCalledOnce();
      expect(results.map(({ result }) => result)).toEqual(stores.map(() => nth));
    }
  });

  // A deploy can change a field's effects while calls are running or have failed.
  it.each(["runs", "has failed"])(
    "keeps a call in a transaction from running while the claim's own call %s",
    async (state) => {
      const running = state === "runs" ? await on.start(on.here) : undefined;
      if (!running) await expect(onceExternal(on.here, payment, fail)).rejects.toThrow("mailer");
      const run = vi.fn(on.add("beside it"));
      for (const store of [on.here, on.there]) {
        await expect(once(store, { ...payment, concurrent: "REJECT" }, run)).rejects.toMatchObject({
          code: "IDEMPOTENCY_CONCURRENT_REQUEST",
        });
      }
      expect(run).not.toHaveBeenCalled();
      expect(await on.opened.texts()).toEqual([]);
      running?.finish({ id: 1 });
      const outcome = running ? running.outcome : onceExternal(on.there, payment, () => ({ id: 1 }));
      expect(await outcome).toMatchObject({ result: { id: 1 }, replayed: false });
      expect(await once(on.there, payment, run)).toMatchObject({ result: { id: 1 }, replayed: true });
    },
  );

  it("is not needed for a key whose call ran in a transaction: its record replays", async () => {
    const first = await once(on.here, payment, on.add("a"));
    const run = vi.fn(() => ({ id: 2 }));
    for (const store of [on.here, on.there]) {
      expect(await onceExternal(store, payment, run)).toEqual({ ...first, replayed: true });
      await expect(onceExternal(store, { ...payment, input: "other" }, run)).rejects.toMatchObject({
        code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
      });
    }
    expect(run).not.toHaveBeenCalled();
  });

  it("that has expired gives way to a call in a transaction, whose record replays", async () => {
    await expect(onceExternal(on.here, { ...payment, retention: "1s" }, fail)).rejects.toThrow("mailer");
    on.opened.clock.now += 1_000;
    const first = await once(on.there, payment, on.add("a"));
    expect(first).toMatchObject({ replayed: false });
    expect(await once(on.here, payment, on.add("b"))).toEqual({ ...first, replayed: true });
  });

  it("is granted again at the moment that the record expires", async () => {
    const options = { ...payment, retention: "1s" } as const;
    await onceExternal(on.here, options, () => 1);
    on.opened.clock.now += 999;
    expect(await onceExternal(on.there, options, () => 2)).toMatchObject({ result: 1, replayed: true });
    on.opened.clock.now += 1;
    expect(await onceExternal(on.there, options, () => 2)).toMatchObject({ result: 2, replayed: false });
  });

  it("has a higher fencing token than all before it, also within a millisecond, and after a purge", async () => {
    const tokens: number[] = [];
    const failing = ({ fencingToken }: ExternalCall<Tx>) => {
      tokens.push(fencingToken);
      fail();
    };
    for (const store of [on.here, on.there]) {
      await expect(onceExternal(store, payment, failing)).rejects.toThrow("mailer");
    }
    on.opened.clock.now += 25 * 3_600_000;
    expect(await on.here.purge()).toBe(1);
    await expect(onceExternal(on.here, payment, failing)).rejects.toThrow("mailer");
    const [first = 0, second = 0, third = 0] = tokens;
    expect(second).toBeGreaterThan(first);
    expect(third).toBeGreaterThan(second);
  });
}
