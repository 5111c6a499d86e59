import { transactionControl } from "../transaction-control.ts";
import { isCancelled, isStoreFault, isTransient, sqlStateOf } from "./faults.ts";

/** `PREPARE TRANSACTION` ends one too. `ROLLBACK TO` a savepoint does not. */
const refusalOf = transactionControl([
  "BEGIN",
  "START",
  "COMMIT",
  "END",
  "ABORT",
  String.raw`PREPARE\s+TRANSACTION`,
  String.raw`ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO)`,
]);

/**
 * The connection of one transaction. The store decides by this what an error means, and not by the error that a
 * resolver throws: a resolver may wrap the driver's error, or lose a connection to something else.
 *
 * - open: the resolver's statements run.
 * - closed: the work is over, and every further statement of the resolver is refused.
 * - lost: the connection broke or was given up, before or after it was closed. It is unknown whether the
 *   transaction has committed.
 */
export class ConnectionState {
  /** Whether the caller's own work has begun, which may have touched more than the database. */
  hasWorkBegun = false;
  #isClosed = false;
  #lossCause: unknown;
  #serverError: unknown;
  /** The last error of a resolver's statement that was more than a consequence of an earlier one. */
  #statementError: unknown;

  get isLost(): boolean {
    return this.#lossCause !== undefined;
  }

  /** What broke the connection or made it unusable. */
  get lossCause(): unknown {
    return this.#lossCause;
  }

  /** The first error that reports a problem of the server itself, or asks for another run of the transaction. */
  get serverError(): unknown {
    return this.#serverError;
  }

  /** Called before each statement of a resolver. */
  checkStatement(text: string): void {
    this.checkOpen();
    const refusal = refusalOf(text);
    if (refusal !== undefined) throw new Error(refusal);
  }

  checkOpen(): void {
    if (!this.#isClosed) return;
    throw new Error("This transaction is over: a call must await all that it does with `tx`.");
  }

  /** Called with the error of each statement that failed. */
  readonly recordError = (error: unknown): void => {
    if (isTransient(error) || isStoreFault(error)) this.#serverError ??= error;
  };

  /** Called with the error of each statement of a resolver that failed. */
  recordStatementError(error: unknown): void {
    this.recordError(error);
    if (!isConsequence(error)) this.#statementError = error;
  }

  /** The error to report where a transaction could not commit, although its work succeeded. */
  errorOfEnd(error: unknown): unknown {
    return isConsequence(error) || error === this.#statementError ? this.rolledBack() : error;
  }

  /**
   * The error for a transaction that PostgreSQL has rolled back because of a failed statement, whose error the
   * work has caught. Errors that say something about the server, or the deadline, stay what they are.
   */
  rolledBack(): unknown {
    if (this.#serverError !== undefined) return this.#serverError;
    if (isCancelled(this.#statementError)) return this.#statementError;
    return new Error(
      "A statement of this call failed, and its error was caught, but PostgreSQL has rolled the whole transaction back. Use tx.transaction() around a statement that may fail.",
      { cause: this.#statementError },
    );
  }

  readonly markLost = (error: unknown): void => {
    this.#lossCause ??= error;
  };

  /** Breaks the connection. Replaced by drivers that can do so. */
  breakConnection = (): void => {};

  /** Gives up the connection, whatever the server may still do. */
  abandon(afterMs: number): Error {
    const error = new Error(`The database did not end the transaction within ${afterMs} ms.`);
    this.markLost(error);
    this.breakConnection();
    return error;
  }

  close(): void {
    this.#isClosed = true;
  }
}

/** in_failed_sql_transaction: refused because an earlier statement of the transaction has failed. */
function isConsequence(error: unknown): boolean {
  return sqlStateOf(error) === "25P02";
}
