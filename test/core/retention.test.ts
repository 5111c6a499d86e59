import { describe, expect, it } from "vitest";
import { retentionMs } from "../../src/core/retention.ts";

describe("a retention", () => {
  it.each([
    ["1s", 1_000],
    ["30s", 30_000],
    ["15m", 900_000],
    ["24h", 86_400_000],
    ["30d", 2_592_000_000],
    ["36500d", 3_153_600_000_000],
    ["007m", 420_000],
  ])("%s is %i milliseconds", (retention, ms) => {
    expect(retentionMs(retention)).toBe(ms);
  });

  it.each([
    "",
    "h",
    "24",
    "24H",
    "1.5h",
    "-1h",
    "+1h",
    "1e3s",
    " 24h",
    "24h ",
    "24 h",
    "24h\n",
    "1w",
    "1h30m",
    "P1D",
    "0s",
    "00d",
    "36501d",
    "999999999d",
    "1000000000s",
    "١h",
    24,
    24n,
    null,
    undefined,
    true,
    [["24h"]],
  ])("%s is none", (retention) => {
    expect(retentionMs(retention)).toBeUndefined();
  });

  it("always ends at a time that a date can have", () => {
    const longest = retentionMs("36500d") ?? Number.NaN;
    expect(new Date(Date.parse("2200-01-01") + longest).toISOString()).toMatch(/^2299-/);
  });
});
