/** Catches misspelt options by name. */
export function checkOptions(caller: string, options: object, known: readonly string[]): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`${caller}() requires an object of options, but received ${String(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new TypeError(`${caller}() has no option "${name}". Its options are ${known.join(", ")}.`);
  }
}

/** Sizes and times: above zero, and no longer than a timer can run (2^31 - 1 ms). */
export function checkPositive(caller: string, options: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (typeof value === "number" && value > 0 && value <= 2_147_483_647) continue;
    throw new TypeError(
      `${caller}(): ${name} must be a number above 0 and at most 2147483647, but it is ${value}.`,
    );
  }
}
