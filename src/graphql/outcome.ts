import type { Outcome } from "../protocol.ts";

const collected: unique symbol = Symbol("graphql-idempotent.outcomes");

interface Collecting {
  [collected]?: Outcome[];
}

/** For contexts that take no property. The others get one: a WeakMap costs a request more than its replay. */
const collectedOf = new WeakMap<object, Outcome[]>();

/**
 * Collects the outcomes of an operation, for a server's plugin: call it before execution with the context
 * value that the resolvers will get, or that theirs is copied from; the array that it returns fills as
 * protected fields settle.
 */
export function collectOutcomes(contextValue: object): readonly Outcome[] {
  const outcomes: Outcome[] = [];
  // `as`: an object may have a property that only this file knows
  if (Object.isExtensible(contextValue)) (contextValue as Collecting)[collected] = outcomes;
  else collectedOf.set(contextValue, outcomes);
  return outcomes;
}

/** Reports an outcome if somebody collects them for this context; otherwise nothing grows. */
export function reportOutcome(contextValue: unknown, makeOutcome: () => Outcome): void {
  if (typeof contextValue !== "object" || contextValue === null) return;
  const outcomes = (contextValue as Collecting)[collected] ?? collectedOf.get(contextValue);
  outcomes?.push(makeOutcome());
}
