import type { Client, Pool, PoolClient, QueryResult } from "pg";
import type { ConnectionState } from "../connection-state.ts";
import type { NodePostgresDatabase, Schema } from "../database.ts";
import { sqlStateOf } from "../faults.ts";
import type { Driver, DriverTransaction, Ending, RawRows, Statement } from "./driver.ts";
import { rowsOfEach } from "./results.ts";
import { sessionOver } from "./session.ts";

/**
 * node-postgres sends a statement only when the one before it has been answered, so each statement is a round
 * trip. The opening shares the round trip of Drizzle's `begin`, and the closing that of its `commit`: a
 * protected call takes no more round trips than a plain transaction.
 */
export function nodePostgres<Transaction>(db: NodePostgresDatabase<Schema>): Driver<Transaction> {
  const pool = db.$client;
  // The pool replaces an idle connection that breaks. Without a listener, its error event would end the process.
  pool.on("error", () => {});

  async function transaction<Result>(
    connection: ConnectionState,
    options: DriverTransaction<Transaction, Result>,
  ): Promise<Result> {
    const client = await connect(pool, connection);
    return new NodePostgresTransaction(client, connection, options).run(db);
  }

  async function query({ text, parameter, name }: Statement): Promise<RawRows> {
    const values = parameter === undefined ? {} : { values: [parameter] };
    return rowsOfEach(await pool.query({ ...unparsed(text), ...values, ...(name && { name }) })).at(-1) ?? [];
  }

  return { transaction, query };
}

/** A query whose rows are arrays of texts, whatever type parsers the application has set. */
function unparsed(text: string) {
  return { text, rowMode: "array", types: { getTypeParser: () => String } };
}

async function connect(pool: Pool, connection: ConnectionState): Promise<PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    connection.markLost(error);
    throw error;
  }
}

const savepoint = "idempotent_call";

/** The members of the server's notices that are read here. */
interface Notice {
  readonly routine?: string | undefined;
  readonly message?: string | undefined;
}

/**
 * One transaction on one client of the pool. Drizzle sends all its statements to `#query`:
 *
 * - opening: nothing was sent yet. The first statement is Drizzle's `begin`; the opening is sent in its place.
 * - working: the work runs, and each statement is the resolver's.
 * - ending: the work is over. Drizzle's `commit` or `rollback` is carried out; a resolver's statement is refused.
 * - over: the client is back in the pool, and every statement is refused.
 */
class NodePostgresTransaction<Transaction, Result> {
  readonly #client: PoolClient;
  readonly #connection: ConnectionState;
  readonly #options: DriverTransaction<Transaction, Result>;
  #phase: "opening" | "working" | "ending" | "over" = "opening";
  #opened: readonly RawRows[] = [];
  #ending: Ending<Result> | undefined;
  #failedCommit: { readonly error: unknown } | undefined;

  constructor(
    client: PoolClient,
    connection: ConnectionState,
    options: DriverTransaction<Transaction, Result>,
  ) {
    this.#client = client;
    this.#connection = connection;
    this.#options = options;
  }

  async run(db: NodePostgresDatabase<Schema>): Promise<Result> {
    this.#client.on("error", this.#connection.markLost);
    this.#client.on("notice", this.#onNotice);
    // `as`: clients of a pool have end(), which destroys the socket while a query is under way
    this.#connection.breakConnection = () => void (this.#client as unknown as Client).end();
    try {
      return await sessionOver(db, { query: this.#query }).transaction((tx: Transaction) => this.#work(tx));
    } catch (error) {
      throw this.#failedCommit ? this.#failedCommit.error : error; // without Drizzle's wrapper, which hides the message
    } finally {
      this.#release();
    }
  }

  async #work(tx: Transaction): Promise<Result> {
    try {
      const query = async (text: string) => rowsOfEach(await this.#control(text));
      this.#ending = await this.#options.work(tx, this.#opened, query);
    } finally {
      this.#connection.close();
      this.#phase = "ending";
    }
    return this.#ending.result;
  }

  readonly #query = async (config: { readonly text: string }, parameters: unknown[]): Promise<unknown> => {
    if (this.#phase === "opening") {
      this.#phase = "working";
      return this.#begin();
    }
    if (this.#phase === "ending" && config.text === "commit") return this.#commit();
    if (this.#phase === "ending" && config.text === "rollback") return this.#rollback();
    this.#connection.checkStatement(config.text);
    return this.#client.query(config, parameters).catch((error: unknown) => {
      this.#connection.recordStatementError(error);
      throw error;
    });
  };

  async #begin(): Promise<void> {
    const { opening, mayUndo } = this.#options;
    try {
      const text = `BEGIN ISOLATION LEVEL READ COMMITTED; ${opening}${mayUndo ? `; SAVEPOINT ${savepoint}` : ""}`;
      this.#opened = rowsOfEach(await this.#control(text)).slice(1, mayUndo ? -1 : undefined);
    } catch (error) {
      await this.#rollback();
      throw error;
    }
  }

  async #commit(): Promise<void> {
    const undo = this.#ending?.undo ? `ROLLBACK TO SAVEPOINT ${savepoint}; ` : "";
    const closing = this.#ending?.closing ? `${this.#ending.closing}; ` : "";
    try {
      const results = await this.#control(`${undo}${closing}COMMIT`);
      // PostgreSQL answers the COMMIT of a transaction in which a statement has failed with ROLLBACK, not an error.
      if (commandOf(results) !== "COMMIT") throw this.#connection.rolledBack();
      if (this.#connection.isLost) throw this.#connection.lossCause; // see #onNotice
    } catch (error) {
      this.#failedCommit = { error: this.#connection.errorOfEnd(error) };
      throw error;
    }
  }

  /** A connection that can't even roll back does not return to the pool. */
  async #rollback(): Promise<void> {
    if (!this.#connection.isLost) await this.#client.query("ROLLBACK").catch(this.#connection.markLost);
  }

  /** Sends statements of the store. After any error but one of SQL, it is unknown what the server has done. */
  async #control(text: string): Promise<unknown> {
    try {
      return await this.#client.query(unparsed(text));
    } catch (error) {
      if (sqlStateOf(error) === undefined) this.#connection.markLost(error);
      this.#connection.recordError(error);
      throw error;
    }
  }

  /**
   * PostgreSQL reports success for a COMMIT whose wait for the synchronous standby is cancelled. Only this
   * warning (syncrep.c) says otherwise: "The transaction has already committed locally, but might not have been
   * replicated to the standby."
   */
  readonly #onNotice = ({ routine, message }: Notice): void => {
    if (routine === "SyncRepWaitForLSN") this.#connection.markLost(new Error(message));
  };

  #release(): void {
    this.#connection.close();
    this.#phase = "over";
    this.#client.removeListener("error", this.#connection.markLost);
    this.#client.removeListener("notice", this.#onNotice);
    this.#client.release(this.#connection.isLost);
  }
}

/** The command that the server says it has carried out, of the last of one or more statements. */
function commandOf(results: unknown): string | undefined {
  const [last] = [results].flat().slice(-1) as Partial<QueryResult>[]; // `as`: what node-postgres returns
  return last?.command;
}
