import { isPromise } from "@graphql-tools/utils";
import type Sqlite from "better-sqlite3";
import {
  createTableRelationsHelpers,
  type ExtractTablesWithRelations,
  entityKind,
  extractTablesRelationalConfig,
  type Logger,
} from "drizzle-orm";
import { BetterSQLiteSession, BetterSQLiteTransaction } from "drizzle-orm/better-sqlite3/session";
import { SQLiteSyncDialect } from "drizzle-orm/sqlite-core";
import type { Guard, StatementCache } from "./statements.ts";

/** A schema as Drizzle takes it: the exports of the file that defines the tables. */
export type Schema = Record<string, unknown>;

/**
 * The Drizzle handle of one call. It is good until the call is over; after that, and past the call's
 * deadline, every query throws.
 */
export type Transaction<Tables extends Schema> = BetterSQLiteTransaction<
  Tables,
  ExtractTablesWithRelations<Tables>
>;

export interface DrizzleOptions<Tables extends Schema> {
  /** The tables, as for `drizzle()`. */
  readonly schema: Tables;
  /** Drizzle's own option: how names of columns without one are made. @default none */
  readonly casing?: "snake_case" | "camelCase";
  /** Drizzle's own option. It sees SQL and parameters. @default none */
  readonly logger?: Logger;
}

/** Makes the handles of calls on one connection. What they share is made once. */
export function transactionFactory<Tables extends Schema>(
  connection: Sqlite.Database,
  statements: StatementCache,
  { schema: fullSchema, casing, logger }: DrizzleOptions<Tables>,
): (guard: Guard) => Transaction<Tables> {
  type Relations = ExtractTablesWithRelations<Tables>;
  const dialect = new SQLiteSyncDialect(casing && { casing });
  const { tables, tableNamesMap } = extractTablesRelationalConfig<Relations>(
    fullSchema,
    createTableRelationsHelpers,
  );
  const schema = { fullSchema, schema: tables, tableNamesMap };
  const sessionOptions = logger ? { logger } : {};
  const savepoints = {
    open: connection.prepare("SAVEPOINT idempotent_nested"),
    release: connection.prepare("RELEASE idempotent_nested"),
    undo: connection.prepare("ROLLBACK TO idempotent_nested"),
  };

  /** Drizzle's own nested transaction would release its savepoint before an async callback has run. */
  class CallTransaction extends BetterSQLiteTransaction<Tables, Relations> {
    static override readonly [entityKind] = "CallTransaction";
    readonly #guard: Guard;

    constructor(guard: Guard) {
      const client = statements.clientFor(guard);
      super("sync", dialect, new BetterSQLiteSession(client, dialect, schema, sessionOptions), schema);
      this.#guard = guard;
    }

    override transaction<Result>(work: (tx: CallTransaction) => Result): Result {
      this.#guard();
      savepoints.open.run();
      let result: Result;
      try {
        result = work(this);
      } catch (error) {
        this.#undo();
        throw error;
      }
      if (!isPromise(result)) {
        savepoints.release.run();
        return result;
      }
      // `as`: a promise in, a promise of the same out
      return result.then(
        (value) => {
          this.#guard();
          savepoints.release.run();
          return value;
        },
        (error) => {
          this.#undo();
          throw error;
        },
      ) as Result;
    }

    #undo(): void {
      try {
        this.#guard();
      } catch {
        return; // the call is over, or SQLite has rolled everything back: this savepoint is gone
      }
      savepoints.undo.run();
      savepoints.release.run();
    }
  }

  return (guard) => new CallTransaction(guard);
}
