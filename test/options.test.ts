import { describe, expect, it } from "vitest";
import { checkOptions, checkPositive } from "../src/options.ts";

describe("options", () => {
  it("may be left out, all of them", () => {
    expect(() => checkOptions("open", {}, ["size"])).not.toThrow();
  });

  it("name a misspelt one, and what there is", () => {
    expect(() => checkOptions("open", { sise: 1 }, ["size", "color"])).toThrow(
      new TypeError('open() has no option "sise". Its options are size, color.'),
    );
  });

  it("catch names that every object has by its prototype", () => {
    expect(() => checkOptions("open", { constructor: 1 }, ["size"])).toThrow('has no option "constructor"');
  });

  it.each([[undefined], [null], ["size"], [1]])("are refused when they are %j", (options) => {
    // `as`: JavaScript's users can pass anything
    expect(() => checkOptions("open", options as unknown as object, ["size"])).toThrow(
      new TypeError(`open() requires an object of options, but received ${options}`),
    );
  });
});

describe("sizes and times", () => {
  it.each([0.5, 1, 2_147_483_647])("can be %d", (size) => {
    expect(() => checkPositive("open", { size })).not.toThrow();
  });

  it.each([0, -0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2_147_483_648, "1", null, undefined])(
    "can't be %s",
    (size) => {
      // `as`: JavaScript's users can pass anything
      expect(() => checkPositive("open", { size: size as number })).toThrow(
        new TypeError(`open(): size must be a number above 0 and at most 2147483647, but it is ${size}.`),
      );
    },
  );
});
