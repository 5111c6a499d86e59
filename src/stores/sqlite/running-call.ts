import { AsyncLocalStorage } from "node:async_hooks";

/** A call that has the write lock of a file, as the code that it runs sees it. */
export interface RunningCall {
  readonly file: string;
  isOver: boolean;
  /** The call that this one was made by: of another file, since one of the same would wait for itself. */
  readonly outer: RunningCall | undefined;
}

const runningCall = new AsyncLocalStorage<RunningCall>();

/** Runs the work of a call; code that belongs to it is then known by its async context. */
export function runAsCall<Result>(call: RunningCall, work: () => Result): Result {
  return runningCall.run(call, work);
}

/**
 * The running call that the present code belongs to, if there is one. Calls that are over are passed by: code that
 * each of them has started, one after the other, would otherwise hold on to all of them.
 */
export function currentCall(): RunningCall | undefined {
  let call = runningCall.getStore();
  while (call?.isOver) call = call.outer;
  return call;
}

/**
 * Refuses a write that would wait for itself: the present code runs inside a transaction of the same file.
 *
 * @throws {Error} that says what to do
 */
export function refuseNesting(file: string): void {
  for (let call = currentCall(); call; call = call.outer) {
    if (call.isOver || call.file !== file) continue;
    throw new Error(
      "This code runs inside a transaction of the same database and would wait for itself: write through the `tx` of that transaction, and start another one (write, once, a protected mutation) only after it has ended.",
    );
  }
}
