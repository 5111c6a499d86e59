import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { checkOption, checkOptions, checkPositive, isFunction, isStringArray } from "../src/options.ts";

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

  it.each<[unknown, string]>([
    [0, "0"],
    [-1, "-1"],
    [Number.NaN, "NaN"],
    [Number.POSITIVE_INFINITY, "Infinity"],
    [2_147_483_648, "2147483648"],
    ["1", "'1'"],
    [10n, "10n"],
    [null, "null"],
  ])("can't be %s", (size, shown) => {
    // `as`: JavaScript's users can pass anything
    expect(() => checkPositive("open", { size: size as number })).toThrow(
      new TypeError(`open(): size must be a number above 0 and at most 2147483647, but it is ${shown}.`),
    );
  });

  it("may be left out", () => {
    expect(() => checkPositive("open", { size: undefined })).not.toThrow();
  });
});

describe("an option that has a form", () => {
  it("may be left out, or be right", () => {
    expect(() => checkOption("open", {}, "make" as never, "a function", isFunction)).not.toThrow();
    expect(() => checkOption("open", { make: () => 1 }, "make", "a function", isFunction)).not.toThrow();
    expect(() => checkOption("open", { names: [] }, "names", "an array", isStringArray)).not.toThrow();
  });

  it.each([
    ["names", "a"],
    ["names", ["a", 1]],
    ["names", null],
    ["make", {}],
  ] as const)("says of %s what it must be, and that it is %j", (name, value) => {
    const isRight = name === "make" ? isFunction : isStringArray;
    expect(() => checkOption("open", { [name]: value }, name, "right", isRight)).toThrow(
      new TypeError(`open(): ${name} must be right, but it is ${inspect(value)}.`),
    );
  });
});
