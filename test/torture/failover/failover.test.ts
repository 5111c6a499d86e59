import { afterAll, describe, expect, it, vi } from "vitest";
import { killLeftovers } from "../shop/shop-process.ts";
import { failOverUnderLoad } from "./failover.ts";

// It starts processes, also on machines that are busy with other things.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });
afterAll(killLeftovers);

describe.runIf(process.platform === "linux")("when a standby takes the place of a primary", () => {
  it("that has started anew without it, and dies under load, nothing acknowledged is lost and nothing runs twice", async () => {
    const report = await failOverUnderLoad({ failovers: 1, seed: 1, only: ["restarted"] });
    expect(report.findings).toEqual([]);
    expect(report.answers).toBeGreaterThan(50);
  });

  it("that does not wait for it, the acknowledgements that are lost are seen", async () => {
    const report = await failOverUnderLoad({ failovers: 1, seed: 1, only: ["alone"], isSynchronous: false });
    expect(report.findings.map(({ check }) => check)).toContain("lost acknowledgement");
  });
});
