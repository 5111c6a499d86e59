import { shared } from "../core/shared.ts";
import type { Outcome } from "../protocol.ts";

// Global, so that copies of this package in one server report to each other.
const collected: unique symbol = Symbol.for("graphql-idempotent.outcomes");

interface Collecting {
  [collected]?: Outcome[];
}

/** For contexts that take no property. The others get one: a WeakMap costs a request more than its replay. */
const collectedOf = shared("graphql-idempotent.outcomes-of", () => new WeakMap<object, Outcome[]>());

/**
 * Collects the outcomes of an operation, for a server's plugin: call it before execution with the context
 * value that the resolvers will get, or that theirs is copied from; the array that it returns fills as
 * protected fields settle.
 */
export function collectOutcomes(contextValue: object): readonly Outcome[] {
  const outcomes: Outcome[] = [];
  if (!putOn(contextValue, outcomes)) collectedOf.set(contextValue, outcomes);
  return outcomes;
}

/** @returns false for a context that takes no property: a frozen object, a proxy that refuses */
function putOn(contextValue: object, outcomes: Outcome[]): boolean {
  try {
    return Object.isExtensible(contextValue) && Reflect.set(contextValue, collected, outcomes);
  } catch {
    return false;
  }
}

/**
 * Reports an outcome if somebody collects them for this context; otherwise nothing grows.
 *
 * Never throws: the call is over, and a report that fails must not turn its result into an error.
 */
export function reportOutcome(contextValue: unknown, makeOutcome: () => Outcome): void {
  if (typeof contextValue !== "object" || contextValue === null) return;
  try {
    outcomesOf(contextValue)?.push(makeOutcome());
  } catch {
    // Best effort.
  }
}

function outcomesOf(contextValue: object): Outcome[] | undefined {
  const known = collectedOf.get(contextValue);
  if (known) return known;
  return (contextValue as Collecting)[collected]; // `as`: an object may have a property that only this file knows
}
