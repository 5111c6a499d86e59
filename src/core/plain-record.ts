/**
 * Whether an object is a plain record: its prototype is null or Object's, be it the Object of another realm (a
 * `node:vm` context, as test runners have).
 */
export function isPlainRecord(value: object): value is Record<string, unknown> {
  const prototype = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) return true;
  // Only the root of a realm's prototypes has these members and no prototype of its own.
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "__lookupGetter__");
}
