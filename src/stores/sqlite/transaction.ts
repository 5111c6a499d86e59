import { isPromise } from "@graphql-tools/utils";
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

  /**
   * Drizzle's own nested transaction would release its savepoint before an async callback has run.
   *
   * Savepoints are a stack. So while a nested transaction is open, the handle that opened it is refused: what
   * it wrote meanwhile would be undone with the nested one, and a second one at its side ended with it.
   */
  class CallTransaction extends BetterSQLiteTransaction<Tables, Relations> {
    static override readonly [entityKind] = "CallTransaction";
    readonly #guard: Guard;
    #isNesting = false;

    constructor(guard: Guard, depth: number) {
      const client = statements.clientFor(() => this.#check());
      super("sync", dialect, new BetterSQLiteSession(client, dialect, schema, sessionOptions), schema, depth);
      this.#guard = guard;
    }

    #check(): void {
      this.#guard();
      if (this.#isNesting) throw new Error(nestingRefusal);
    }

    override transaction<Result>(work: (tx: CallTransaction) => Result): Result {
      this.#check();
      let isOver = false;
      const nestedGuard = (): void => {
        this.#guard();
        if (isOver) throw new Error(overRefusal);
      };
      const nested = new CallTransaction(nestedGuard, this.nestedIndex + 1);
      const control = (command: string): void => {
        statements.prepare(`${command} idempotent_nested_${this.nestedIndex}`).objects.run();
      };
      const end = (): void => {
        isOver = true;
        this.#isNesting = false;
        this.#guard();
      };
      const keep = <Value>(value: Value): Value => {
        end();
        control("RELEASE");
        return value;
      };
      const undo = (error: unknown): never => {
        try {
          end();
        } catch {
          throw error; // the call is over, or SQLite has rolled everything back: the savepoint is gone
        }
        control("ROLLBACK TO");
        control("RELEASE");
        throw error;
      };

      control("SAVEPOINT");
      this.#isNesting = true;
      let result: Result;
      try {
        result = work(nested);
      } catch (error) {
        return undo(error);
      }
      // `as`: a promise in, a promise of the same out
      return isPromise(result) ? (result.then(keep, undo) as Result) : keep(result);
    }
  }

  return (guard) => new CallTransaction(guard, 0);
}

const nestingRefusal =
  "A nested transaction of this one is open: write through the `tx` that its callback was given, and await its end before anything else.";
const overRefusal = "This nested transaction is over: its callback must await all that it does with `tx`.";
