import { type ExternalCall, onceExternal } from "graphql-idempotent";
import { expect, it, vi } from "vitest";
import type { OpenEntries } from "./entries.ts";
import { heldByAnother, type OpenRun, payment, twoProcesses } from "./two-processes.ts";

/** What a run can still do after its lease: nothing that another run would notice. */
export function lateRunSuite<Tx>(open: OpenEntries<Tx>): void {
  const on = twoProcesses(open);

  async function expectRefused(late: OpenRun<Tx>): Promise<void> {
    await expect(late.external.step("charge", () => "late")).rejects.toMatchObject(heldByAnother);
    await expect(late.external.write("record", on.add("late"))).rejects.toMatchObject(heldByAnother);
    late.finish({ id: "late" });
    await expect(late.outcome).rejects.toMatchObject(heldByAnother);
    expect(await on.opened.texts()).toEqual([]);
  }

  it("is taken over, under a higher fencing token and the same downstream key", async () => {
    const { external: crashed } = await on.start(on.here);
    on.opened.clock.now += 1_000;
    let second: ExternalCall<Tx> | undefined;
    const taken = await onceExternal(on.there, payment, (external) => {
      second = external;
      return { id: 2 };
    });
    expect(taken).toMatchObject({ result: { id: 2 }, replayed: false });
    expect(second?.fencingToken).toBeGreaterThan(crashed.fencingToken);
    expect(second?.downstreamKey).toBe(crashed.downstreamKey);
  });

  it("can neither save a step, nor write, nor finish, while the run that took over still works", async () => {
    const late = await on.start(on.here);
    on.opened.clock.now += 1_000;
    const second = await on.start(on.there);
    await expectRefused(late);
    second.finish({ id: 2 });
    expect(await second.outcome).toMatchObject({ result: { id: 2 }, replayed: false });
    expect(await onceExternal(on.here, payment, vi.fn())).toMatchObject({
      result: { id: 2 },
      replayed: true,
    });
  });

  it("can neither save a step, nor write, nor finish, once the run that took over has finished", async () => {
    const late = await on.start(on.here);
    on.opened.clock.now += 1_000;
    await onceExternal(on.there, payment, () => ({ id: 2 }));
    await expectRefused(late);
    expect(await onceExternal(on.there, payment, vi.fn())).toMatchObject({ result: { id: 2 } });
  });

  it("can't take the lease back, and is told so by its signal, while the run that took over still works", async () => {
    const late = await on.start(on.here);
    on.opened.clock.now += 1_000;
    const second = await on.start(on.there);
    expect(late.external.signal.aborted).toBe(false);
    await on.renew(on.here);
    expect(late.external.signal.aborted).toBe(true);
    expect(second.external.signal.aborted).toBe(false);
  });

  it("changes its record no more by a step that it had not awaited", async () => {
    const { external, finish, outcome } = await on.start(on.here);
    finish({ id: 1 });
    await outcome;
    await expect(external.step("charge", () => "late")).rejects.toMatchObject(heldByAnother);
    expect(await onceExternal(on.there, payment, vi.fn())).toMatchObject({
      result: { id: 1 },
      replayed: true,
    });
  });
}
