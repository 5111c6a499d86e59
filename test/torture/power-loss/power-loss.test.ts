import { describe, expect, it } from "vitest";
import { canInterpose } from "../interpose/interpose.ts";
import { crashPoints } from "./crash-points.ts";
import { powerLoss } from "./power-loss.ts";

describe.runIf(canInterpose())("after a power cut at any moment", () => {
  it("nothing acknowledged is lost, and a retry of every key has one effect and the first answer", async () => {
    const report = await powerLoss({ images: 240, imagesPerRun: 120, seed: 1 });
    expect(report.findings).toEqual([]);
    // The moments that the guarantee is about must have been among them.
    expect(report.syncs).toBeGreaterThan(50);
    expect(report.acknowledgements).toBeGreaterThan(1_000);
  });

  it.each(["OFF", "NORMAL"] as const)("synchronous = %s is seen to lose results", async (synchronous) => {
    const { findings } = await powerLoss({ images: 40, imagesPerRun: 40, seed: 1, synchronous });
    expect(findings.map(({ check }) => check)).toContain("lost acknowledgement");
  });
});

describe.runIf(canInterpose())("after a kill at a chosen change or lock of SQLite's", () => {
  it("nothing acknowledged is lost, and a retry of every key has one effect and the first answer", async () => {
    const report = await crashPoints({ crashes: 3, seed: 1 });
    expect(report.findings).toEqual([]);
    expect(report.crashes).toBeGreaterThan(0);
  });
});
