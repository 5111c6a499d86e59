import { GraphQLError } from "graphql";
import { type ExternalCall, type OnceOptions, onceExternal, type Store } from "graphql-idempotent";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Entries, OpenEntries } from "./entries.ts";

const call: OnceOptions = {
  scope: "alice",
  field: "payments.pay",
  key: "k-1",
  input: { order: 1 },
  leaseMs: 1_000,
};

/** What onceExternal() promises, whatever the store: between two processes, as far as leases can tell. */
export function leaseSuite<Tx>(open: OpenEntries<Tx>): void {
  let opened: Entries<Tx>;
  let here: Store<Tx>;
  let there: Store<Tx>;

  beforeEach(async () => {
    // A crashed process renews nothing: leases are renewed where a test says so.
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    opened = await open();
    here = opened.store;
    there = await opened.another();
  });

  afterEach(async () => {
    vi.useRealTimers();
    await opened[Symbol.asyncDispose]();
  });

  function add(text: string) {
    return (tx: Tx) => opened.insert(tx, text);
  }

  /** A run that got as far as its crash: it never ends, and what it does afterwards comes too late. */
  async function crashedRun(
    before: (external: ExternalCall<Tx>) => Promise<unknown> = async () => {},
  ): Promise<{
    external: ExternalCall<Tx>;
    finishLate: (value: unknown) => void;
    outcome: Promise<unknown>;
  }> {
    let finishLate: (value: unknown) => void = () => {};
    let outcome: Promise<unknown> = Promise.resolve();
    const external = await new Promise<ExternalCall<Tx>>((resolve, reject) => {
      outcome = onceExternal(here, call, async (granted) => {
        await before(granted);
        resolve(granted);
        return new Promise((finish) => {
          finishLate = finish;
        });
      });
      outcome.catch(reject);
    });
    return { external, finishLate, outcome };
  }

  describe("a call under a lease", () => {
    it("runs once, and every further call gets its result, in any process", async () => {
      const run = vi.fn(async () => ({ id: 7 }));
      const first = await onceExternal(here, call, run);
      const second = await onceExternal(there, call, run);
      expect(first).toMatchObject({ result: { id: 7 }, replayed: false, resourceId: "7" });
      expect(second).toEqual({ ...first, replayed: true });
      expect(run).toHaveBeenCalledOnce();
    });

    it("is refused to another process while it runs, at once with REJECT and after the wait with WAIT", async () => {
      const { finishLate, outcome } = await crashedRun();
      const run = vi.fn();
      for (const options of [{ concurrent: "REJECT" }, { concurrent: "WAIT", waitMs: 50 }] as const) {
        await expect(onceExternal(there, { ...call, ...options }, run)).rejects.toMatchObject({
          code: "IDEMPOTENCY_CONCURRENT_REQUEST",
        });
      }
      expect(run).not.toHaveBeenCalled();
      finishLate({ id: 1 });
      await outcome;
    });

    it("is waited for by a duplicate in another process, which gets its result", async () => {
      const { finishLate, outcome } = await crashedRun();
      const duplicate = onceExternal(there, call, vi.fn());
      finishLate({ id: 3 });
      await outcome;
      expect(await duplicate).toMatchObject({ result: { id: 3 }, replayed: true });
    });

    it("is refused to other arguments, while it runs and after it failed", async () => {
      const other = { ...call, input: { order: 2 } };
      const { finishLate, outcome } = await crashedRun();
      await expect(onceExternal(there, other, vi.fn())).rejects.toMatchObject({
        code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
      });
      finishLate(() => "no result that can be stored");
      await expect(outcome).rejects.toMatchObject({ code: "IDEMPOTENCY_RESULT_UNSTORABLE" });
      await expect(onceExternal(there, other, vi.fn())).rejects.toMatchObject({
        code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
      });
    });

    it("is taken over when its lease has run out, under a higher fencing token and the same downstream key", async () => {
      const crashed = await crashedRun();
      opened.clock.now += 1_000;
      let second: ExternalCall<Tx> | undefined;
      const taken = await onceExternal(there, call, (external) => {
        second = external;
        return { id: 2 };
      });
      expect(taken).toMatchObject({ result: { id: 2 }, replayed: false });
      expect(second?.fencingToken).toBeGreaterThan(crashed.external.fencingToken);
      expect(second?.downstreamKey).toBe(crashed.external.downstreamKey);
      crashed.finishLate({ id: 1 });
      await crashed.outcome.catch(() => {});
    });

    it("can neither finish, nor save a step, nor write, once another run has taken over", async () => {
      const { external, finishLate, outcome } = await crashedRun();
      opened.clock.now += 1_000;
      await onceExternal(there, call, () => ({ id: 2 }));
      const tooLate = { code: "IDEMPOTENCY_CONCURRENT_REQUEST" };
      await expect(external.step("charge", () => "late")).rejects.toMatchObject(tooLate);
      const write = external.write("record", add("late"));
      await expect(write).rejects.toMatchObject(tooLate);
      finishLate({ id: 1 });
      await expect(outcome).rejects.toMatchObject(tooLate);
      expect(await opened.texts()).toHaveLength(0);
      expect((await onceExternal(there, call, vi.fn())).result).toEqual({ id: 2 });
    });

    it("is told by its signal that another run has taken over", async () => {
      const { external, finishLate, outcome } = await crashedRun();
      opened.clock.now += 1_000;
      await onceExternal(there, call, () => ({ id: 2 }));
      expect(external.signal.aborted).toBe(false);
      await vi.advanceTimersByTimeAsync(250);
      await vi.waitFor(() => expect(external.signal.aborted).toBe(true));
      finishLate({ id: 1 });
      await outcome.catch(() => {});
    });

    it("keeps its lease for as long as it runs", async () => {
      const { finishLate, outcome } = await crashedRun();
      for (let quarter = 0; quarter < 8; quarter++) {
        opened.clock.now += 250;
        await vi.advanceTimersByTimeAsync(250);
        await vi.waitFor(
          async () => {
            expect((await opened.records())[0]?.leaseUntil).toBe(opened.clock.now + 1_000);
          },
          { timeout: 10_000 },
        );
      }
      const duplicate = onceExternal(there, { ...call, concurrent: "REJECT" }, vi.fn());
      await expect(duplicate).rejects.toMatchObject({ code: "IDEMPOTENCY_CONCURRENT_REQUEST" });
      finishLate({ id: 1 });
      expect(await outcome).toMatchObject({ result: { id: 1 }, replayed: false });
    });
  });

  describe("the steps of a call under a lease", () => {
    it("are not repeated by the run that takes over after a crash", async () => {
      const charge = vi.fn(async () => ({ id: "ch_1", at: new Date(0) }));
      const insert = vi.fn(add("ch_1"));
      const crashed = await crashedRun(async (external) => {
        await external.step("charge", charge);
        await external.write("record", insert);
      });
      opened.clock.now += 1_000;
      const { result } = await onceExternal(there, call, async (external) => ({
        charge: await external.step("charge", charge),
        payment: await external.write("record", insert),
      }));
      expect(result).toEqual({ charge: { id: "ch_1", at: new Date(0) }, payment: { id: 1, text: "ch_1" } });
      expect(charge).toHaveBeenCalledOnce();
      expect(insert).toHaveBeenCalledOnce();
      expect(await opened.texts()).toHaveLength(1);
      crashed.finishLate(null);
      await crashed.outcome.catch(() => {});
    });

    it("are not repeated by the retry of a run that failed", async () => {
      const charge = vi.fn(() => "ch_1");
      const run = async (external: ExternalCall<Tx>, fails: boolean) => {
        const charged = await external.step("charge", charge);
        if (fails) throw new Error("The mailer is down");
        return { id: charged };
      };
      await expect(onceExternal(here, call, (external) => run(external, true))).rejects.toThrow("mailer");
      const retried = await onceExternal(there, call, (external) => run(external, false));
      expect(retried).toMatchObject({ result: { id: "ch_1" }, replayed: false });
      expect(charge).toHaveBeenCalledOnce();
    });

    it("are repeated when they failed, and leave no write behind", async () => {
      await expect(
        onceExternal(here, call, (external) =>
          external.write("record", async (tx) => {
            await add("half done")(tx);
            throw new Error("and then the resolver stumbled");
          }),
        ),
      ).rejects.toThrow("stumbled");
      expect(await opened.texts()).toHaveLength(0);
      const { result } = await onceExternal(here, call, (external) => external.step("charge", () => "done"));
      expect(result).toBe("done");
    });
  });

  it("a GraphQLError of an external call is its result with errors: REPLAY", async () => {
    const run = vi.fn(() => {
      throw new GraphQLError("The card was declined", { extensions: { code: "CARD_DECLINED" } });
    });
    const declined = { ...call, errors: "REPLAY" } as const;
    for (const store of [here, there, here]) {
      await expect(onceExternal(store, declined, run)).rejects.toMatchObject({
        message: "The card was declined",
        extensions: { code: "CARD_DECLINED" },
      });
    }
    expect(run).toHaveBeenCalledOnce();
  });

  it("fencing tokens rise also over a claim that was purged", async () => {
    const tokens: number[] = [];
    const failing = (external: ExternalCall<Tx>) => {
      tokens.push(external.fencingToken);
      throw new Error("for now");
    };
    await expect(onceExternal(here, call, failing)).rejects.toThrow();
    opened.clock.now += 25 * 3_600_000;
    expect(await here.purge()).toBe(1);
    await expect(onceExternal(here, call, failing)).rejects.toThrow();
    expect(tokens[1]).toBeGreaterThan(tokens[0] as number); // `as`: it has two
  });
}
