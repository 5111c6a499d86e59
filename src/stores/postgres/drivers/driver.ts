import type { ConnectionState } from "../connection-state.ts";

/**
 * The rows of one statement: the values of each in the order of its columns, as PostgreSQL writes them. No name and
 * no value has passed through the options and type parsers that applications give to their driver.
 */
export type RawRows = readonly (readonly (string | null)[])[];

/** Sends statements of the store within a transaction, and returns the rows of each, or of those that have rows. */
export type Query = (text: string) => Promise<readonly RawRows[]>;

/** How a transaction ends once its work is done. */
export interface Ending<Result> {
  readonly result: Result;
  /** Statements that are sent together with COMMIT. */
  readonly closing: string;
  /** Undoes all writes of the work before `closing` runs. */
  readonly undo: boolean;
}

/** What a driver runs in one transaction. */
export interface DriverTransaction<Transaction, Result> {
  /** Two statements or more, sent together with BEGIN where the driver can do so. */
  readonly opening: string;
  /** Whether the ending may undo the work, which takes a savepoint. */
  readonly mayUndo: boolean;
  /** Gets the results of the opening: of each statement, or of those with rows, depending on the driver. */
  readonly work: (tx: Transaction, opened: readonly RawRows[], query: Query) => Promise<Ending<Result>>;
}

export interface Statement {
  readonly text: string;
  /** The only parameter, `$1`. A text with one is a single statement. @default none */
  readonly parameter?: string;
  /** The name under which each connection keeps the statement prepared. @default none */
  readonly name?: string;
}

/** The port of a driver: everything in which node-postgres and postgres.js differ. */
export interface Driver<Transaction> {
  /**
   * Runs a transaction and carries out the ending that its work returns. Reports to `connection` what happens
   * to the connection.
   *
   * Rejects with the error of the work, of a statement or of the connection. By then the connection is usable
   * or gone, and never left in a transaction.
   */
  transaction<Result>(
    connection: ConnectionState,
    transaction: DriverTransaction<Transaction, Result>,
  ): Promise<Result>;

  /** Runs a statement outside of any transaction, and returns its rows, or those of the last of several. */
  query(statement: Statement): Promise<RawRows>;
}
