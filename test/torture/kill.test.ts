import { expect, it } from "vitest";
import { killUnderLoad } from "./kill.ts";

it("a server that is killed under load makes no duplicate, loses no answer and leaves no key stuck", async () => {
  const report = await killUnderLoad({ kills: 6, seed: 1 });
  expect(report.findings).toEqual([]);
  expect(report.answers).toBeGreaterThan(50);
}, 60_000);
