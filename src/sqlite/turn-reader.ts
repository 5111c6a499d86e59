import type Sqlite from "better-sqlite3";
import { type BetterSQLite3Database, drizzle } from "drizzle-orm/better-sqlite3";
import { StatementCache } from "./statements.ts";

/**
 * A connection whose reads in one turn of the event loop share one read transaction: taking and giving back
 * its locks costs more than to find a row.
 *
 * So a read may miss what was committed since the turn began. It is for those who look again in the writer's
 * transaction before they act on a miss, and for nobody else: hence a connection of its own.
 */
export class TurnReader {
  readonly drizzle: BetterSQLite3Database;
  readonly #connection: Sqlite.Database;
  readonly #begin: Sqlite.Statement;
  readonly #end: Sqlite.Statement;

  constructor(connection: Sqlite.Database) {
    this.#connection = connection;
    this.#begin = connection.prepare("BEGIN");
    this.#end = connection.prepare("ROLLBACK");
    this.drizzle = drizzle(new StatementCache(connection).clientFor(() => this.#beginTurn()));
  }

  /** The guard of each read: the first one of a turn begins the transaction, and the turn's end ends it. */
  #beginTurn(): void {
    if (this.#connection.inTransaction || !this.#connection.open) return;
    this.#begin.run();
    setImmediate(() => {
      if (this.#connection.inTransaction) this.#end.run();
    });
  }
}
