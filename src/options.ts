import { inspect } from "node:util";

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

/** An option that may be left out, but that must be right when it is there. */
export function checkOption<Options extends object>(
  caller: string,
  options: Options,
  name: keyof Options & string,
  requirement: string,
  isRight: (value: unknown) => boolean,
): void {
  const value: unknown = options[name];
  if (value === undefined || isRight(value)) return;
  throw new TypeError(`${caller}(): ${name} must be ${requirement}, but it is ${inspect(value)}.`);
}

export function isFunction(value: unknown): boolean {
  return typeof value === "function";
}

export function isStringArray(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/** The port that all rests on. */
export function checkStore(caller: string, store: { readonly transaction: unknown } | undefined): void {
  if (isFunction(store?.transaction)) return;
  throw new TypeError(`${caller}() requires a store, such as sqliteStore(openDatabase(file, { schema })).`);
}

/** Sizes and times: above zero, and no longer than a timer can run (2^31 - 1 ms). */
export function checkPositive(caller: string, options: Readonly<Record<string, number | undefined>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    if (typeof value === "number" && value > 0 && value <= 2_147_483_647) continue;
    throw new TypeError(
      `${caller}(): ${name} must be a number above 0 and at most 2147483647, but it is ${inspect(value)}.`,
    );
  }
}
