import { afterAll, expect, it } from "vitest";
import { killUnderLoad } from "./kill.ts";
import { peerTarget } from "./peers/peers.ts";
import { killLeftovers } from "./shop/shop-process.ts";

afterAll(killLeftovers);

it("a server that is killed under load makes no duplicate, loses no answer and leaves no key stuck", async () => {
  const report = await killUnderLoad({ kills: 6, seed: 1 });
  expect(report.findings).toEqual([]);
  expect(report.answers).toBeGreaterThan(50);
});

it("the same kills of a resolver without protection are seen to make duplicates", async () => {
  const { findings } = await killUnderLoad({ kills: 2, seed: 1, target: peerTarget("plain", "") });
  const checks = findings.map(({ check }) => check);
  expect(checks).toContain("duplicate");
  expect(checks).toContain("differing replay");
});
