import { GraphQLError } from "graphql";
import { onceExternal } from "graphql-idempotent";
import { expect, it, vi } from "vitest";
import type { OpenEntries } from "./entries.ts";
import { heldByAnother, leasesOf, payment, twoProcesses } from "./two-processes.ts";

/** What onceExternal() promises its callers, whatever the store: between two processes, as far as leases can tell. */
export function leaseSuite<Tx>(open: OpenEntries<Tx>): void {
  const on = twoProcesses(open);

  it("runs once, and every further call gets its result, in any process", async () => {
    const run = vi.fn(async () => ({ id: 7 }));
    const first = await onceExternal(on.here, payment, run);
    const second = await onceExternal(on.there, payment, run);
    expect(first).toMatchObject({ result: { id: 7 }, replayed: false, resourceId: "7" });
    expect(second).toEqual({ ...first, replayed: true });
    expect(run).toHaveBeenCalledOnce();
  });

  it("is refused to another process with REJECT while it runs, without a wait", async () => {
    await on.start(on.here);
    const claim = vi.spyOn(leasesOf(on.there), "claim");
    const run = vi.fn();
    const duplicate = onceExternal(on.there, { ...payment, concurrent: "REJECT", waitMs: 200 }, run);
    await expect(duplicate).rejects.toMatchObject(heldByAnother);
    expect(run).not.toHaveBeenCalled();
    expect(claim).toHaveBeenCalledOnce(); // to wait is to ask again
  });

  it("is refused to another process with WAIT after its wait", async () => {
    await on.start(on.here);
    const run = vi.fn();
    const duplicate = onceExternal(on.there, { ...payment, waitMs: 50 }, run);
    await expect(duplicate).rejects.toMatchObject(heldByAnother);
    expect(run).not.toHaveBeenCalled();
  });

  it("is waited for by a duplicate in another process, which gets its result", async () => {
    const { finish, outcome } = await on.start(on.here);
    const duplicate = onceExternal(on.there, payment, vi.fn());
    finish({ id: 3 });
    await outcome;
    expect(await duplicate).toMatchObject({ result: { id: 3 }, replayed: true });
  });

  it("is refused to other arguments, while it runs and after it failed", async () => {
    const other = { ...payment, input: { order: 2 } };
    const { finish, outcome } = await on.start(on.here);
    await expect(onceExternal(on.there, other, vi.fn())).rejects.toMatchObject({
      code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
    });
    finish(() => "no result that can be stored");
    await expect(outcome).rejects.toMatchObject({ code: "IDEMPOTENCY_RESULT_UNSTORABLE" });
    await expect(onceExternal(on.there, other, vi.fn())).rejects.toMatchObject({
      code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
    });
  });

  it("runs for each customer who sends its key, also while the other's runs, and each gets the own result", async () => {
    const alices = await on.start(on.here);
    const bob = { ...payment, scope: "bob", concurrent: "REJECT" } as const;
    expect(await onceExternal(on.there, bob, () => ({ id: "bob's" }))).toMatchObject({
      result: { id: "bob's" },
      replayed: false,
    });
    alices.finish({ id: "alice's" });
    await alices.outcome;
    for (const [options, id] of [
      [payment, "alice's"],
      [bob, "bob's"],
    ] as const) {
      expect(await onceExternal(on.there, options, vi.fn())).toMatchObject({
        result: { id },
        replayed: true,
      });
    }
  });

  it("has a downstream key that is the same for ever, and another for each scope, field and key", async () => {
    const calls = [payment, { ...payment, scope: "bob" }, { ...payment, field: "payments.refund" }];
    const downstreamKeys: string[] = [];
    for (const call of [...calls, { ...payment, key: "k-2" }]) {
      await onceExternal(on.here, call, ({ downstreamKey }) => {
        downstreamKeys.push(downstreamKey);
      });
    }
    // A gateway may have them from an earlier version: any change of these would repeat payments.
    expect(downstreamKeys).toEqual([
      "0a4f40cb-f750-5e12-9d0c-ad4d13387f9e",
      "fffb14ed-6f01-510f-b0fd-7bb979b5e406",
      "059de775-506a-528b-9e6f-0e70b2291e98",
      "6fb4200f-ec0e-5747-b50d-8582386f21fb",
    ]);
  });

  it("replays a GraphQLError as its result with errors: REPLAY", async () => {
    const run = vi.fn(() => {
      throw new GraphQLError("The card was declined", { extensions: { code: "CARD_DECLINED" } });
    });
    const declined = { ...payment, errors: "REPLAY" } as const;
    for (const store of [on.here, on.there, on.here]) {
      await expect(onceExternal(store, declined, run)).rejects.toMatchObject({
        message: "The card was declined",
        extensions: { code: "CARD_DECLINED" },
      });
    }
    expect(run).toHaveBeenCalledOnce();
  });
}
