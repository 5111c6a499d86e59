import { shared } from "../core/shared.ts";

/** Contexts that hold the grant of a running call. */
const inUse = shared("graphql-idempotent.contexts-in-use", () => new WeakSet<object>());

/**
 * Runs `work` with a context that has what is granted to one call: `tx` or `idempotency`.
 *
 * It is the context itself, for the time of the run: root fields of a mutation run one after the other, and only the
 * context itself keeps private fields, getters, proxies, and what the resolver writes for the fields below it. A
 * copy takes its place where another call is using the context, or where it takes no property.
 */
export async function withGrant(
  context: unknown,
  granted: Readonly<Record<string, unknown>>,
  work: (context: object) => unknown,
): Promise<unknown> {
  if (typeof context !== "object" || context === null) return work(granted);
  const restore = inUse.has(context) ? undefined : put(context, granted);
  if (!restore) return work(copyWith(context, granted));
  inUse.add(context);
  try {
    return await work(context);
  } finally {
    inUse.delete(context);
    restore();
  }
}

/** @returns what puts the earlier properties back, or undefined for a context that doesn't take the new ones */
function put(context: object, granted: Readonly<Record<string, unknown>>): (() => void) | undefined {
  const earlier: [string, PropertyDescriptor | undefined][] = [];

  function restore(): void {
    for (const [name, descriptor] of earlier) {
      try {
        if (descriptor) Reflect.defineProperty(context, name, descriptor);
        else Reflect.deleteProperty(context, name);
      } catch {
        // The resolver has made the context refuse it. What was granted is of no use once its call is over.
      }
    }
  }

  try {
    for (const [name, value] of Object.entries(granted)) {
      const descriptor = Reflect.getOwnPropertyDescriptor(context, name);
      earlier.push([name, descriptor]);
      const own = { value, writable: true, enumerable: true, configurable: true };
      if (descriptor?.configurable !== false && Reflect.defineProperty(context, name, own)) {
        // A proxy may say yes and do something else.
        if (Reflect.get(context, name) === value) continue;
      }
      restore();
      return undefined;
    }
  } catch {
    restore();
    return undefined;
  }
  return restore;
}

/** A copy with the same prototype and the same own properties, getters among them. */
function copyWith(context: object, granted: Readonly<Record<string, unknown>>): object {
  const own = Object.getOwnPropertyDescriptors(granted);
  try {
    return Object.create(Object.getPrototypeOf(context), {
      ...Object.getOwnPropertyDescriptors(context),
      ...own,
    });
  } catch {
    return Object.create(context, own); // a proxy that doesn't tell its properties
  }
}
