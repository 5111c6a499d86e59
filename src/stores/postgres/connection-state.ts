import { isStoreFault, isTransient } from "./faults.ts";

/**
 * What became of the connection of one transaction. The store judges by this, not by the error that a resolver
 * throws: a resolver may wrap the driver's error, or meet a lost connection of something else.
 */
export class Watch {
  /** What broke the connection or made it unusable. Whether its transaction has committed is then unknown. */
  lost: unknown;
  /** The first answer of the server that speaks of itself, or that asks for the transaction to be run again. */
  fault: unknown;
  #isOver = false;

  /** Before each statement of a resolver. */
  check(text: string): void {
    if (this.#isOver) {
      throw new Error("This transaction is over: a call must await all that it does with `tx`.");
    }
    if (control.test(text)) {
      throw new Error(
        `Transactions begin and end by themselves here, so "${text.trim().slice(0, 40)}" is refused. To undo part of a call's writes, use tx.transaction(); to undo all of them, throw.`,
      );
    }
  }

  /** After each statement that failed. */
  readonly note = (error: unknown): void => {
    if (this.fault === undefined && (isTransient(error) || isStoreFault(error))) this.fault = error;
  };

  readonly lose = (error: unknown): void => {
    this.lost ??= error;
  };

  /** Breaks the connection. A driver that can do so sets it. */
  breakConnection = (): void => {};

  /** Gives the connection up, whatever the server may still do. */
  abandon(afterMs: number): Error {
    const error = new Error(`The database did not end the transaction within ${afterMs} ms.`);
    this.lose(error);
    this.breakConnection();
    return error;
  }

  /** From now on, no statement of the resolver runs. */
  end(): void {
    this.#isOver = true;
  }
}

/** White space and comments, and then a statement that begins or ends a transaction, or changes how it commits. */
const control =
  /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[\s\S]*?(?:\*\/|$))*(?:BEGIN|START|COMMIT|END|ABORT|PREPARE\s+TRANSACTION|ROLLBACK(?!\s+(?:WORK\s+|TRANSACTION\s+)?TO))\b/i;
