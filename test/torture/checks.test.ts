import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { describe, expect, it } from "vitest";
import {
  damage,
  differingReplays,
  duplicates,
  type Finding,
  imbalances,
  leaks,
  lostAcknowledgements,
  stockGap,
  stuckKeys,
  tornApart,
} from "./checks.ts";

const a = { key: "a", result: '{"id":1}' };
const b = { key: "b", result: '{"id":2}' };
const opening = new Map([
  ["x", 100],
  ["y", 100],
]);
const moved = [{ from: "x", to: "y", amount: 30 }];

describe("each check finds the fault it looks for, and nothing in its absence", () => {
  it.each<[string, Finding[], Finding[]]>([
    ["a duplicate", duplicates([a, b, a]), duplicates([a, b])],
    ["a lost acknowledgement", lostAcknowledgements([a, b], [b]), lostAcknowledgements([a], [a, b])],
    ["a record without its effect", tornApart([a, b], [a]), tornApart([a, b], [b, a])],
    ["an effect without its record", tornApart([a], [a, b]), tornApart([], [])],
    ["a differing replay", differingReplays([a, b, { ...a, result: "{}" }]), differingReplays([a, b, a])],
    ["a stuck key", stuckKeys(["a", "b"], [a]), stuckKeys(["a"], [a, b])],
    [
      "a balance that does not add up",
      imbalances(
        opening,
        new Map([
          ["x", 70],
          ["y", 129],
        ]),
        moved,
      ),
      imbalances(
        opening,
        new Map([
          ["x", 70],
          ["y", 130],
        ]),
        moved,
      ),
    ],
    ["a stock that does not add up", stockGap(10, 8, [1, 2]), stockGap(10, 7, [1, 2])],
    ["a leaked secret", leaks("key=a", ["a", "secret"]), leaks("fine", ["secret"])],
  ])("%s", (_name, planted, clean) => {
    expect(planted).toHaveLength(1);
    expect(planted[0]?.detail).toMatch(/\S/);
    expect(clean).toEqual([]);
  });

  it("a damaged file", () => {
    const file = join(tmpdir(), `torture-damage-${process.pid}.db`);
    try {
      const whole = new Sqlite(file);
      whole.exec(
        "CREATE TABLE t (a TEXT); CREATE INDEX i ON t (a); INSERT INTO t VALUES (hex(randomblob(9)));",
      );
      expect(damage(whole)).toEqual([]);
      const bytes = whole.serialize();
      whole.close();
      bytes[8191] = (bytes[8191] ?? 0) ^ 1; // the last byte of the table's one row
      writeFileSync(file, bytes);
      const damaged = new Sqlite(file);
      expect(damage(damaged)).not.toEqual([]);
      damaged.close();
    } finally {
      rmSync(file, { force: true });
    }
  });
});
