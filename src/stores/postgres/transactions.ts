import { setTimeout as sleep } from "node:timers/promises";
import { deadlineExceeded, unavailable } from "../../errors.ts";
import { withTimeout } from "../with-timeout.ts";
import type { Driver, Ending, RawRows } from "./drivers/driver.ts";
import { constraintOf, isCancelled, isStoreFault, isTransient, noConnection, sqlStateOf } from "./faults.ts";
import { isPrimaryKey } from "./table.ts";
import { Watch } from "./watch.ts";

export interface TransactionOptions {
  /**
   * How long a transaction may last, a statement of it take, its COMMIT be unanswered, and a call wait for a
   * connection, in milliseconds. @default 10_000
   */
  readonly deadlineMs?: number;
}

/** How often a transaction is run at most, when PostgreSQL asks for that. */
const mostAttempts = 6;

/** A transaction's own statements, and how `work` is bounded in time. */
export interface Plan<Transaction, Result> {
  /** Two queries, sent with BEGIN. @default none */
  readonly opening?: string;
  readonly mayUndo?: boolean;
  /** Gets the results of the opening's two queries. */
  readonly work: (
    tx: Transaction,
    opened: readonly RawRows[],
    bounded: <Value>(run: () => Value | Promise<Value>) => Promise<Value>,
  ) => Promise<Ending<Result>>;
}

/** The end of a transaction that writes no record. */
export function nothingMore<Result>(result: Result, closing = ""): Ending<Result> {
  return { result, closing, undo: false };
}

/**
 * Transactions that are run again when PostgreSQL asks for it, that are bounded in time, and whose errors say
 * whether the store or the call has failed.
 *
 * READ COMMITTED, whatever the database's default: a look-up after a wait must see what the other call has
 * committed meanwhile, and a snapshot that was taken before the wait would not.
 */
export class Transactions<Transaction> {
  readonly #driver: Driver<Transaction>;
  readonly deadlineMs: number;
  readonly #limits: string;

  constructor(driver: Driver<Transaction>, { deadlineMs = 10_000 }: TransactionOptions) {
    this.#driver = driver;
    this.deadlineMs = Math.ceil(deadlineMs);
    // The server's own limits are for a process that has stopped, or can't be reached any more: they end its
    // transaction, and with it its locks. statement_timeout does not reach COMMIT, which may wait for a standby.
    this.#limits = `SET LOCAL statement_timeout = ${this.deadlineMs}; SET LOCAL idle_in_transaction_session_timeout = ${this.deadlineMs + 1_000}`;
  }

  async run<Result>(plan: Plan<Transaction, Result>): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      const watch = new Watch();
      try {
        return await this.#attempt(watch, plan);
      } catch (error) {
        if (watch.lost !== undefined)
          throw unavailable(
            "The database can't be reached, or did not confirm what it has done.",
            watch.lost,
          );
        const isAgain = isTransient(watch.fault) || isLostRace(error);
        if (!isAgain) throw this.#asStoreError(error, watch);
        if (attempt === mostAttempts) {
          throw unavailable("The transaction kept colliding with others.", watch.fault ?? error);
        }
      }
      await sleep(Math.random() * 5 * 2 ** attempt);
    }
  }

  async #attempt<Result>(
    watch: Watch,
    { opening, mayUndo = false, work }: Plan<Transaction, Result>,
  ): Promise<Result> {
    const [beginning, begun] = signal();
    const [working, worked] = signal();
    const running = this.#driver.transaction(
      watch,
      opening === undefined ? this.#limits : `${this.#limits}; ${opening}`,
      mayUndo,
      async (tx, opened) => {
        begun();
        try {
          // node-postgres has a result for each statement, postgres.js for each that has rows: the queries come last.
          const ending = await work(tx, opened.slice(-2), (run) => this.#bounded(run));
          // An error that stands for one of the server's own must not become the call's result.
          if (ending.undo && watch.fault !== undefined) throw watch.fault;
          return ending;
        } finally {
          worked();
        }
      },
    );
    running.catch(() => {}); // here it is waited for only so long
    try {
      await withTimeout(Promise.race([beginning, running]), this.deadlineMs, noConnection);
    } catch (error) {
      watch.end(); // a connection that becomes free later begins nothing
      throw error;
    }
    await Promise.race([working, running]);
    // COMMIT may wait for a standby that is away, and ROLLBACK for a server that is.
    return withTimeout(running, this.deadlineMs, () => watch.abandon(this.deadlineMs));
  }

  #bounded<Value>(run: () => Value | Promise<Value>): Promise<Value> {
    return withTimeout(Promise.resolve().then(run), this.deadlineMs, () => deadlineExceeded(this.deadlineMs));
  }

  #asStoreError(error: unknown, { fault }: Watch): unknown {
    const cause = fault ?? error;
    if (isStoreFault(cause)) return unavailable("The database can't be used right now.", cause);
    if (isCancelled(error)) return deadlineExceeded(this.deadlineMs, error);
    return error;
  }
}

/** A promise, and the function that fulfils it. */
function signal(): [promise: Promise<void>, fulfil: () => void] {
  let fulfil = (): void => {};
  const promise = new Promise<void>((resolve) => {
    fulfil = resolve;
  });
  return [promise, fulfil];
}

/**
 * Another call's record came first, though this one had the lock: what has a lock of its own on each node, as
 * Citus with several coordinators, holds calls apart by the primary key alone.
 */
function isLostRace(error: unknown): boolean {
  return sqlStateOf(error) === "23505" && isPrimaryKey(constraintOf(error));
}
