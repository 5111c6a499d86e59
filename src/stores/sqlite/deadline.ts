import { isPromise } from "@graphql-tools/utils";
import { deadlineExceeded, isIdempotencyError } from "../../errors.ts";

/** One timer for all calls, since they run one at a time. */
export class Deadline {
  readonly #ms: number;
  #timer: NodeJS.Timeout | undefined;
  #onTimeout = (): void => {};

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** The value, or a rejection when its promise takes longer than the deadline; a late result goes nowhere. */
  within(value: unknown): unknown {
    if (!isPromise(value)) return value;
    return new Promise((resolve, reject) => {
      this.#onTimeout = () => reject(deadlineExceeded(this.#ms));
      if (this.#timer) this.#timer.refresh().ref();
      else this.#timer = setTimeout(() => this.#onTimeout(), this.#ms);
      value.then(resolve, reject);
    });
  }

  /** Between batches the timer keeps running without effect, and keeps no process alive. */
  rest(): void {
    this.#onTimeout = () => {};
    this.#timer?.unref();
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}

/** It never throws, whatever a resolver has thrown: a proxy may refuse to be looked at. */
export function isDeadline(error: unknown): boolean {
  try {
    return isIdempotencyError(error) && error.code === "IDEMPOTENCY_DEADLINE_EXCEEDED";
  } catch {
    return false;
  }
}
