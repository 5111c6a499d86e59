import { inspect } from "node:util";

/**
 * The scope of calls that all clients share: whoever sends a key gets the result stored under it. Only for
 * keys that can't be guessed, or results that everybody may see; so it must be written out.
 */
export const SHARED: unique symbol = Symbol.for("graphql-idempotent.SHARED");

/** The scope as records have it. */
export function scopeOf(scope: unknown): string {
  if (scope === SHARED) return "";
  // A lone surrogate has no UTF-8 form: two such scopes would meet in one record.
  if (typeof scope === "string" && scope !== "" && !/\p{Cs}/u.test(scope)) return scope;
  throw new TypeError(
    `The scope of an idempotent call must be a string that names whose call it is, and not empty, but it is ${inspect(scope)}. Write \`scope: SHARED\` if all clients are to share their keys.`,
  );
}
