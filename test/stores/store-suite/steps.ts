import { type ExternalCall, onceExternal } from "graphql-idempotent";
import { v7 } from "uuid";
import { expect, it, vi } from "vitest";
import { noon, type OpenEntries } from "./entries.ts";
import { payment, twoProcesses } from "./two-processes.ts";

const hour = 3_600_000;

/** What steps promise: how often they are carried out, whatever becomes of their runs. */
export function stepSuite<Tx>(open: OpenEntries<Tx>): void {
  const on = twoProcesses(open);

  /** A run that charges a card, and fails then or not. */
  function charging(charge: () => unknown, fails = false) {
    return async (external: ExternalCall<Tx>) => {
      const id = await external.step("charge", charge);
      if (fails) throw new Error("The mailer is down");
      return { id };
    };
  }

  it("are not repeated by the run that takes over after a crash", async () => {
    const charge = vi.fn(async () => ({ id: "ch_1", at: new Date(0) }));
    const insert = vi.fn(on.add("ch_1"));
    await on.start(on.here, payment, async (external) => {
      await external.step("charge", charge);
      await external.write("record", insert);
    });
    on.opened.clock.now += 1_000;
    const { result } = await onceExternal(on.there, payment, async (external) => ({
      charge: await external.step("charge", charge),
      payment: await external.write("record", insert),
    }));
    expect(result).toEqual({ charge: { id: "ch_1", at: new Date(0) }, payment: { id: 1, text: "ch_1" } });
    expect(charge).toHaveBeenCalledOnce();
    expect(insert).toHaveBeenCalledOnce();
    expect(await on.opened.texts()).toHaveLength(1);
  });

  it("are not repeated by the retry of a run that failed", async () => {
    const charge = vi.fn(() => "ch_1");
    await expect(onceExternal(on.here, payment, charging(charge, true))).rejects.toThrow("mailer");
    const retried = await onceExternal(on.there, payment, charging(charge));
    expect(retried).toMatchObject({ result: { id: "ch_1" }, replayed: false });
    expect(charge).toHaveBeenCalledOnce();
  });

  it("are not forgotten by a purge after the lease of their run is over", async () => {
    const charge = vi.fn(() => "ch_1");
    await expect(onceExternal(on.here, payment, charging(charge, true))).rejects.toThrow("mailer");
    on.opened.clock.now += 2_000;
    expect(await on.here.purge()).toBe(0);
    const retried = await onceExternal(on.there, payment, charging(charge));
    expect(retried).toMatchObject({ result: { id: "ch_1" }, replayed: false });
    expect(charge).toHaveBeenCalledOnce();
  });

  it("are kept until their key, from a clock that is ahead, is refused for its age", async () => {
    const charge = vi.fn(() => "ch_1");
    const options = { ...payment, key: v7({ msecs: noon + hour }), retention: "1h" } as const;
    await expect(onceExternal(on.here, options, charging(charge, true))).rejects.toThrow("mailer");
    on.opened.clock.now += 2 * hour - 1;
    expect(await on.here.purge()).toBe(0);
    const retried = await onceExternal(on.there, options, charging(charge));
    expect(retried).toMatchObject({ result: { id: "ch_1" }, replayed: false });
    expect(charge).toHaveBeenCalledOnce();
  });

  it("are not those of the next call, when their claim has expired", async () => {
    const [first, second] = [vi.fn(() => "ch_1"), vi.fn(() => "ch_2")];
    const options = { ...payment, retention: "1s" } as const;
    await expect(onceExternal(on.here, options, charging(first, true))).rejects.toThrow("mailer");
    on.opened.clock.now += 1_000;
    const other = await onceExternal(on.there, { ...options, input: { order: 2 } }, charging(second));
    expect(other).toMatchObject({ result: { id: "ch_2" }, replayed: false });
    expect(second).toHaveBeenCalledOnce();
  });

  it("are carried out once in a run, however often it uses their name", async () => {
    const charge = vi.fn(() => "ch_1");
    const insert = vi.fn(on.add("ch_1"));
    await onceExternal(on.here, payment, async ({ step, write }) => {
      for (let use = 0; use < 2; use++) {
        // The second use may be refused: what matters is that it does nothing.
        await Promise.allSettled([step("charge", charge)]);
        await Promise.allSettled([write("record", insert)]);
      }
    });
    expect(charge).toHaveBeenCalledOnce();
    expect(insert).toHaveBeenCalledOnce();
    expect(await on.opened.texts()).toEqual(["ch_1"]);
  });

  it("are repeated when they failed, and leave no write behind", async () => {
    await expect(
      onceExternal(on.here, payment, (external) =>
        external.write("record", async (tx) => {
          await on.add("half done")(tx);
          throw new Error("and then the resolver stumbled");
        }),
      ),
    ).rejects.toThrow("stumbled");
    expect(await on.opened.texts()).toHaveLength(0);
    const { result } = await onceExternal(on.here, payment, (external) =>
      external.step("charge", () => "done"),
    );
    expect(result).toBe("done");
  });
}
