import type { TransactionSql } from "postgres";
import type { ConnectionState } from "../connection-state.ts";
import type { PostgresJsDatabase, Schema } from "../database.ts";
import { sqlStateOf } from "../faults.ts";
import type { Driver, DriverTransaction, Ending, Query, RawRows, Statement } from "./driver.ts";
import { rowsOfEach } from "./results.ts";
import { sessionOver } from "./session.ts";

/**
 * postgres.js sends BEGIN and COMMIT itself, and sends statements that are not awaited without waiting. So the
 * closing goes out together with COMMIT, while BEGIN takes one more round trip. `sql.reserve()` would save that
 * one, but reports no closed connection: the next statement would run on another, outside any transaction.
 *
 * Two things are impossible here. postgres.js can't break a single connection, so one whose server has stopped
 * answering occupies its place in the pool until the network gives it up. And warnings reach only the `onnotice`
 * of the user, so that a COMMIT that did not wait for its standby goes unnoticed (node-postgres reports it).
 */
export function postgresJs<Transaction>(db: PostgresJsDatabase<Schema>): Driver<Transaction> {
  async function query({ text, parameter, name }: Statement): Promise<RawRows> {
    const parameters = parameter === undefined ? [] : [parameter];
    // Raw rows are arrays of buffers, whatever types and transforms the application has set.
    const results = await db.$client.unsafe(text, parameters, { prepare: name !== undefined }).raw();
    return rowsOfEach(results).at(-1) ?? [];
  }

  return {
    transaction: (connection, options) => new PostgresJsTransaction(db, connection, options).run(),
    query,
  };
}

/**
 * Sent with COMMIT where nothing else is. PostgreSQL answers the COMMIT of a transaction in which a statement has
 * failed with ROLLBACK, which postgres.js does not report; this statement fails there.
 */
const probe = "SELECT 1";

type Callback = (client: object) => Promise<unknown>;

/**
 * One transaction, in these steps:
 *
 * - begin: postgres.js reserves a connection, sends BEGIN and calls `#inTransaction`. `#opened` is read.
 * - work: Drizzle and the resolver send statements through `#watched`. `#ending` or `#failure` is set.
 * - end: `#closing` is sent and not awaited, so that the COMMIT of postgres.js follows at once; after a failure,
 *   it sends ROLLBACK instead.
 *
 * A connection that is lost during any of them never ends its callback: see `#unlessLost`.
 */
class PostgresJsTransaction<Transaction, Result> {
  readonly #db: PostgresJsDatabase<Schema>;
  readonly #connection: ConnectionState;
  readonly #options: DriverTransaction<Transaction, Result>;
  #opened: readonly RawRows[] = [];
  #query: Query = () => Promise.reject(new Error("No connection yet."));
  #ending: Ending<Result> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #closing: Promise<unknown> | undefined;

  constructor(
    db: PostgresJsDatabase<Schema>,
    connection: ConnectionState,
    options: DriverTransaction<Transaction, Result>,
  ) {
    this.#db = db;
    this.#connection = connection;
    this.#options = options;
  }

  async run(): Promise<Result> {
    const begin = (callback: Callback) => this.#begin(callback);
    try {
      await sessionOver(this.#db, { begin }).transaction(async (tx: Transaction) => {
        this.#ending = await this.#options.work(tx, this.#opened, this.#query);
      });
      await this.#closing; // answered before the COMMIT
      return (this.#ending as Ending<Result>).result; // `as`: the work is done
    } catch (error) {
      this.#recordControlError(error);
      throw this.#ending ? this.#connection.errorOfEnd(error) : error;
    } finally {
      this.#connection.close();
    }
  }

  #begin(callback: Callback): Promise<unknown> {
    return this.#db.$client.begin("isolation level read committed", (client) =>
      this.#unlessLost(this.#inTransaction(client, callback)),
    );
  }

  async #inTransaction(client: TransactionSql, callback: Callback): Promise<void> {
    try {
      this.#connection.checkOpen(); // the wait for a connection may have taken too long
      this.#query = async (text) => {
        const results = client.unsafe(text).raw();
        results.catch(this.#recordError);
        return rowsOfEach(await results);
      };
      this.#opened = await this.#query(this.#options.opening);
      await this.#runWork(client, callback);
    } catch (error) {
      this.#failure = { error };
      throw error;
    } finally {
      this.#connection.close();
    }
    if (this.#connection.isLost) return;
    this.#closing = client.unsafe(this.#ending?.closing || probe).execute();
    this.#closing.catch(() => {}); // run() awaits it after the COMMIT, whose error comes first
  }

  /** Runs the work in a savepoint if its writes may have to be undone. */
  async #runWork(client: TransactionSql, callback: Callback): Promise<void> {
    if (!this.#options.mayUndo) {
      await callback(this.#watched(client));
      return;
    }
    const undone = new Error("The writes of this call are undone.");
    const isolated = client.savepoint(async (inner) => {
      await this.#unlessLost(callback(this.#watched(inner)));
      if (this.#ending?.undo) throw undone;
    });
    await isolated.catch((error: unknown) => {
      if (error !== undone) throw error;
    });
  }

  /** What Drizzle uses as the client of a transaction. */
  #watched(client: TransactionSql): object {
    return {
      options: this.#db.$client.options,
      unsafe: (text: string, ...rest: never[]) => {
        this.#connection.checkStatement(text);
        const query = client.unsafe(text, ...rest);
        query.catch(this.#recordStatementError);
        return query;
      },
      savepoint: (nested: Callback) => {
        this.#connection.checkOpen();
        return client.savepoint((inner) => this.#unlessLost(nested(this.#watched(inner))));
      },
    };
  }

  /**
   * When a callback ends, postgres.js (3.4.9) sends COMMIT or ROLLBACK even if the connection has closed. That
   * ends the process, or reaches another transaction on the new connection
   * (github.com/porsager/postgres/issues/1208 and 1216). So a callback that has lost its connection never
   * settles; begin() is rejected because the connection closed.
   */
  async #unlessLost<Value>(callback: Promise<Value>): Promise<Value> {
    try {
      return await callback;
    } finally {
      if (this.#connection.isLost) await new Promise(() => {});
    }
  }

  readonly #recordError = (error: unknown): void => {
    if (isConnectionError(error)) this.#connection.markLost(error);
    this.#connection.recordError(error);
  };

  readonly #recordStatementError = (error: unknown): void => {
    if (isConnectionError(error)) this.#connection.markLost(error);
    this.#connection.recordStatementError(error);
  };

  /** Records an error outside the work. After any but one of SQL, it is unknown what the server has done. */
  #recordControlError(error: unknown): void {
    if (error === this.#failure?.error) return;
    if (sqlStateOf(error) === undefined) this.#connection.markLost(error);
    this.#connection.recordError(error);
  }
}

/** Errors of the socket have an `errno`. Those of postgres.js about connections have a code such as CONNECTION_CLOSED. */
function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  return "errno" in error || /^CONNECT/.test(String(error.code));
}
