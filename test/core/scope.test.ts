import { SHARED } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { scopeOf } from "../../src/core/scope.ts";

describe("the scope of a call", () => {
  it("is the string that names whose call it is, unchanged", () => {
    for (const scope of ["alice", " alice ", "a\0b", "ünïcode 😀", "x".repeat(10_000)]) {
      expect(scopeOf(scope)).toBe(scope);
    }
  });

  it("is shared only when SHARED is written out, and no string is the shared one", () => {
    expect(scopeOf(SHARED)).toBe("");
    expect(() => scopeOf("")).toThrow(TypeError);
  });

  it.each<[unknown, string]>([
    [undefined, "undefined"],
    [null, "null"],
    ["", "''"],
    [7, "7"],
    [Number.NaN, "NaN"],
    [10n, "10n"],
    [{ id: "alice" }, "{ id: 'alice' }"],
    [["alice"], "[ 'alice' ]"],
    [Symbol("graphql-idempotent.SHARED"), "Symbol(graphql-idempotent.SHARED)"],
    ["\ud83d", String.raw`'\ud83d'`],
  ])("is refused when it is %s", (scope, shown) => {
    expect(() => scopeOf(scope)).toThrow(
      new TypeError(
        `The scope of an idempotent call must be a string that names whose call it is, and not empty, but it is ${shown}. Write \`scope: SHARED\` if all clients are to share their keys.`,
      ),
    );
  });
});
