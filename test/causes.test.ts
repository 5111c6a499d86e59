import { describe, expect, it } from "vitest";
import { causesOf } from "../src/errors.ts";
import { constraintOf, isStoreFault, sqlStateOf } from "../src/stores/postgres/faults.ts";
import { asStoreError, isBusy } from "../src/stores/sqlite/faults.ts";

const circle = new Error("a");
circle.cause = new Error("b", { cause: circle });

const unreadable = Object.defineProperty(new Error("c"), "cause", {
  get() {
    throw new Error("It can't be read.");
  },
});

const { proxy: revoked, revoke } = Proxy.revocable(new Error("d"), {});
revoke();

describe("the causes of an error", () => {
  it("are found from the outside in", () => {
    const inner = new Error("inner", { cause: "no error" });
    const outer = new Error("outer", { cause: inner });
    expect(causesOf(outer)).toEqual([outer, inner]);
  });

  it.each([
    ["a circle of causes", circle],
    ["a cause that can't be read", unreadable],
    ["a cause that is a revoked proxy", new Error("e", { cause: revoked })],
    ["a revoked proxy", revoked],
    ["no error", "text"],
    ["nothing", undefined],
  ])("come to an end for %s, for each engine", (_what, thrown) => {
    expect(causesOf(thrown).length).toBeLessThanOrEqual(20);
    expect(sqlStateOf(thrown)).toBeUndefined();
    expect(constraintOf(thrown)).toBeUndefined();
    expect(isStoreFault(thrown)).toBe(false);
    expect(isBusy(thrown)).toBe(false);
    expect(Object.is(asStoreError(thrown), thrown)).toBe(true);
  });
});
