import { unavailable } from "../../errors.ts";
import type { RunningCall } from "./running-call.ts";

/** A call in the queue: `work` may be asynchronous; `finish` is the synchronous end of its transaction. */
export interface Job<Transaction> {
  readonly label: string;
  readonly work: (tx: Transaction) => unknown;
  readonly finish: (value: unknown, undo: () => void) => unknown;
  /** Runs a function in the async context in which the call was made. */
  readonly inContext: <Result>(run: () => Result) => Result;
  /** The running call that made this one. */
  readonly outer: RunningCall | undefined;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly queuedAt: number;
}

/** The calls that wait for the writer, in the order of their arrival. */
export class Queue<Transaction> {
  readonly #maxLength: number;
  #jobs: Job<Transaction>[] = [];

  constructor(maxLength: number) {
    this.#maxLength = maxLength;
  }

  get length(): number {
    return this.#jobs.length;
  }

  get isFull(): boolean {
    return this.#jobs.length >= this.#maxLength;
  }

  push(job: Job<Transaction>): void {
    this.#jobs.push(job);
  }

  at(index: number): Job<Transaction> | undefined {
    return this.#jobs[index];
  }

  /** Removes the first jobs, which have been taken by a batch. */
  remove(count: number): void {
    this.#jobs.splice(0, count);
  }

  refuse(count: number, error: unknown): void {
    for (const job of this.#jobs.splice(0, count)) job.reject(error);
  }

  /** Refuses those that have waited for longer than `waitMs`. */
  refuseOverdue(waitMs: number, cause: unknown): void {
    const overdue = performance.now() - waitMs;
    const firstPatient = this.#jobs.findIndex(({ queuedAt }) => queuedAt > overdue);
    const count = firstPatient === -1 ? this.#jobs.length : firstPatient;
    this.refuse(count, unavailable("The database has been locked by another process for too long.", cause));
  }

  /**
   * A write queued while a call ran past its deadline may belong to that call: a resolver that writes without
   * its `tx` waits for itself. Such a write must not take effect after its call was rolled back.
   */
  refuseSince(startedAt: number): void {
    const first = this.#jobs.findIndex(({ queuedAt }) => queuedAt >= startedAt);
    if (first === -1) return;
    const error = unavailable("Another call kept the database for too long.");
    for (const job of this.#jobs.splice(first)) job.reject(error);
  }
}
