import { AsyncLocalStorage } from "node:async_hooks";

/** A call that has the writer's connection, as the code that it runs sees it. */
export interface RunningCall {
  /** The writer that runs it. */
  readonly writer: object;
  isOver: boolean;
}

/**
 * The call in whose transaction the present code runs. A resolver that waited for another transaction of the
 * same writer would wait for itself, and the async context tells this at once.
 */
export const runningCall = new AsyncLocalStorage<RunningCall>();

/** Whether the present code belongs to a call that this writer is running. */
export function isWithinCallOf(writer: object): boolean {
  const call = runningCall.getStore();
  return call !== undefined && call.writer === writer && !call.isOver;
}

export function nestingRefused(): Error {
  return new Error(
    "This code runs inside a transaction of the same database, and would wait for itself. Write through the `tx` of that transaction, and start another one (write, once, a protected mutation) only after it has ended.",
  );
}
