import { setTimeout as sleep } from "node:timers/promises";
import { deadlineExceeded, unavailable } from "../../errors.ts";
import { withTimeout } from "../with-timeout.ts";
import { ConnectionState } from "./connection-state.ts";
import type { Driver, Ending, Query, RawRows } from "./drivers/driver.ts";
import { constraintOf, isCancelled, isStoreFault, isTransient, noConnection, sqlStateOf } from "./faults.ts";
import { isPrimaryKey } from "./table.ts";

export interface TransactionOptions {
  /**
   * Longest duration of a transaction, of each of its statements, of its COMMIT, and of the wait for a
   * connection, in milliseconds. @default 10_000
   */
  readonly deadlineMs?: number;
  /**
   * Whether a transaction that PostgreSQL rejects because of a deadlock, a serialization failure or a lost race for
   * the key is run again with its resolver, up to six times within one request (PostgreSQL's documentation,
   * "Serialization Failure Handling"). Only for resolvers that touch nothing but `tx` and their arguments: an
   * upload, a queue or a variable keeps what the first run has done to it. Otherwise such a call is rolled back and
   * refused with IDEMPOTENCY_STORE_UNAVAILABLE, and the client's retry runs it. @default false
   */
  readonly rerun?: boolean;
}

/** How often a transaction is run at most when PostgreSQL asks for another run. */
const maxAttempts = 6;

/** What one transaction runs. */
export interface Plan<Transaction, Result> {
  /** Two queries, sent with BEGIN. @default none */
  readonly opening?: string;
  /** Whether the ending may undo the writes of the work. @default false */
  readonly mayUndo?: boolean;
  readonly work: (tx: Transaction, means: Means) => Promise<Ending<Result>>;
}

/** What the work of a transaction gets beside it. */
export interface Means {
  /** The rows of the opening's two queries. */
  readonly opened: readonly RawRows[];
  readonly query: Query;
  /** Runs the caller's own work, limited to the deadline. From then on, only `rerun` allows another attempt. */
  readonly runWork: <Value>(run: () => Value | Promise<Value>) => Promise<Value>;
}

/** The ending of a transaction that writes no record. */
export function withoutRecord<Result>(result: Result, closing = ""): Ending<Result> {
  return { result, closing, undo: false };
}

/**
 * Runs transactions: within the deadline, again when PostgreSQL asks for it before their work has begun, and with
 * errors that tell whether the store or the call has failed.
 *
 * They are READ COMMITTED, whatever the database's default. After the wait for another call, the look-up must
 * see what that call has committed; a snapshot from before the wait would not.
 */
export class Transactions<Transaction> {
  readonly #driver: Driver<Transaction>;
  readonly deadlineMs: number;
  readonly #limits: string;
  readonly #rerun: boolean;

  constructor(driver: Driver<Transaction>, { deadlineMs = 10_000, rerun = false }: TransactionOptions) {
    this.#driver = driver;
    this.#rerun = rerun;
    this.deadlineMs = Math.ceil(deadlineMs);
    // The server's own limits are for a process that has stopped or become unreachable: they end its transaction
    // and release its locks. statement_timeout does not apply to COMMIT, which may wait for a standby.
    this.#limits = `SET LOCAL statement_timeout = ${this.deadlineMs}; SET LOCAL idle_in_transaction_session_timeout = ${this.deadlineMs + 1_000}`;
  }

  async run<Result>(plan: Plan<Transaction, Result>): Promise<Result> {
    for (let attempt = 1; ; attempt++) {
      const connection = new ConnectionState();
      try {
        return await this.#attempt(connection, plan);
      } catch (error) {
        const { serverError } = connection;
        if (connection.isLost) {
          throw unavailable(
            "The database can't be reached, or did not confirm what it has done.",
            connection.lossCause,
          );
        }
        if (!isTransient(serverError) && !isLostRace(error)) throw this.#asStoreError(error, serverError);
        if (attempt === maxAttempts) {
          throw unavailable("The transaction kept colliding with others.", serverError ?? error);
        }
        if (connection.hasWorkBegun && !this.#rerun) {
          throw unavailable(
            "The transaction collided with another and was rolled back.",
            serverError ?? error,
          );
        }
      }
      await sleep(Math.random() * 5 * 2 ** attempt);
    }
  }

  async #attempt<Result>(
    connection: ConnectionState,
    { opening, mayUndo = false, work }: Plan<Transaction, Result>,
  ): Promise<Result> {
    const [begun, setBegun] = signal();
    const [worked, setWorked] = signal();
    const running = this.#driver.transaction<Result>(connection, {
      opening: opening === undefined ? this.#limits : `${this.#limits}; ${opening}`,
      mayUndo,
      work: async (tx, opened, query) => {
        setBegun();
        try {
          // The two queries come last: node-postgres has a result for each statement, postgres.js for each with rows.
          const runWork: Means["runWork"] = (run) => {
            connection.hasWorkBegun = true;
            return this.#bounded(run);
          };
          const ending = await work(tx, { opened: opened.slice(-2), query, runWork });
          // A resolver may turn an error of the server into one of its own: that must not become the call's result.
          if (ending.undo && connection.serverError !== undefined) throw connection.serverError;
          return ending;
        } finally {
          setWorked();
        }
      },
    });
    running.catch(() => {}); // nothing awaits it after a timeout
    try {
      await withTimeout(Promise.race([begun, running]), this.deadlineMs, noConnection);
    } catch (error) {
      connection.close(); // so that nothing runs on a connection that becomes free later
      throw error;
    }
    await Promise.race([worked, running]);
    // COMMIT may wait for a standby that is away, and ROLLBACK for a server that is.
    return withTimeout(running, this.deadlineMs, () => connection.abandon(this.deadlineMs));
  }

  #bounded<Value>(run: () => Value | Promise<Value>): Promise<Value> {
    return withTimeout(Promise.resolve().then(run), this.deadlineMs, () => deadlineExceeded(this.deadlineMs));
  }

  #asStoreError(error: unknown, serverError: unknown): unknown {
    const cause = serverError ?? error;
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
 * Whether another call's record came first although this one had the lock. Where each node keeps its own lock
 * table (Citus with several coordinators), only the primary key prevents duplicates.
 */
function isLostRace(error: unknown): boolean {
  return sqlStateOf(error) === "23505" && isPrimaryKey(constraintOf(error));
}
