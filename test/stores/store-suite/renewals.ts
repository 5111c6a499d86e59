import { onceExternal } from "graphql-idempotent";
import { expect, it, vi } from "vitest";
import type { OpenEntries } from "./entries.ts";
import { heldByAnother, payment, twoProcesses } from "./two-processes.ts";

/** How long a run keeps its key from others. */
export function renewalSuite<Tx>(open: OpenEntries<Tx>): void {
  const on = twoProcesses(open);

  async function expectHeld(options = payment): Promise<void> {
    const run = vi.fn();
    const duplicate = onceExternal(on.there, { ...options, concurrent: "REJECT" }, run);
    await expect(duplicate).rejects.toMatchObject(heldByAnother);
    expect(run).not.toHaveBeenCalled();
  }

  it("is kept for as long as its run lasts", async () => {
    const { finish, outcome } = await on.start(on.here);
    for (let quarter = 0; quarter < 8; quarter++) await on.renew(on.here);
    expect(await on.opened.records()).toMatchObject([{ leaseUntil: on.opened.clock.now + 1_000 }]);
    await expectHeld();
    finish({ id: 1 });
    expect(await outcome).toMatchObject({ result: { id: 1 }, replayed: false });
  });

  it("is kept beyond the retention of its call, and no purge removes it", async () => {
    const options = { ...payment, retention: "1s" } as const;
    const { finish, outcome } = await on.start(on.here, options);
    for (let quarter = 0; quarter < 8; quarter++) await on.renew(on.here);
    expect(await on.there.purge()).toBe(0);
    await expectHeld(options);
    finish({ id: 1 });
    expect(await outcome).toMatchObject({ result: { id: 1 }, replayed: false });
  });

  it("lasts as long as it was asked for, also when the retention is shorter", async () => {
    const options = { ...payment, retention: "1s", leaseMs: 60_000 } as const;
    const { finish, outcome } = await on.start(on.here, options);
    on.opened.clock.now += 59_999;
    await expectHeld(options);
    finish({ id: 1 });
    expect(await outcome).toMatchObject({ result: { id: 1 }, replayed: false });
  });

  it("is not given up for a renewal that failed, and the next one renews it", async () => {
    const { external, finish, outcome } = await on.start(on.here);
    const showRecords = await on.opened.hideRecords();
    await on.renew(on.here);
    await showRecords();
    expect(await on.opened.records()).toMatchObject([{ leaseUntil: on.opened.clock.now + 750 }]);
    expect(external.signal.aborted).toBe(false);
    await on.renew(on.here);
    expect(await on.opened.records()).toMatchObject([{ leaseUntil: on.opened.clock.now + 1_000 }]);
    finish({ id: 1 });
    expect(await outcome).toMatchObject({ result: { id: 1 }, replayed: false });
  });

  it("is renewed no more once its run has finished or failed", async () => {
    await onceExternal(on.here, payment, () => 1);
    const failing = onceExternal(on.here, { ...payment, key: "k-2" }, () => {
      throw new Error("The mailer is down");
    });
    await expect(failing).rejects.toThrow("mailer");
    expect(vi.getTimerCount()).toBe(0);
  });
}
