import { isPromise } from "@graphql-tools/utils";
import {
  createTableRelationsHelpers,
  type ExtractTablesWithRelations,
  entityKind,
  extractTablesRelationalConfig,
  type Logger,
  type RelationalSchemaConfig,
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
  const { tables, tableNamesMap } = extractTablesRelationalConfig<ExtractTablesWithRelations<Tables>>(
    fullSchema,
    createTableRelationsHelpers,
  );
  const connection: Connection<Tables> = {
    statements,
    dialect: new SQLiteSyncDialect(casing && { casing }),
    schema: { fullSchema, schema: tables, tableNamesMap },
    sessionOptions: logger ? { logger } : {},
  };
  return (guard) => new CallTransaction(connection, guard, 0);
}

type Relations<Tables extends Schema> = ExtractTablesWithRelations<Tables>;

/** What all handles of one connection share. */
interface Connection<Tables extends Schema> {
  readonly statements: StatementCache;
  readonly dialect: SQLiteSyncDialect;
  readonly schema: RelationalSchemaConfig<Relations<Tables>>;
  readonly sessionOptions: { readonly logger?: Logger };
}

/**
 * Drizzle's own nested transaction would release its savepoint before an async callback has run.
 *
 * open → nesting → open …: savepoints are a stack. So while a nested transaction is open, the handle that opened
 * it is refused: its writes would be undone with the nested one, and a second one beside it would end with it.
 */
class CallTransaction<Tables extends Schema> extends BetterSQLiteTransaction<Tables, Relations<Tables>> {
  static override readonly [entityKind] = "CallTransaction";
  readonly #connection: Connection<Tables>;
  readonly #guard: Guard;
  #isNesting = false;

  constructor(connection: Connection<Tables>, guard: Guard, depth: number) {
    const { statements, dialect, schema, sessionOptions } = connection;
    const client = statements.clientFor(() => this.#check());
    super("sync", dialect, new BetterSQLiteSession(client, dialect, schema, sessionOptions), schema, depth);
    this.#connection = connection;
    this.#guard = guard;
  }

  #check(): void {
    this.#guard();
    if (this.#isNesting) throw new Error(nestingRefusal);
  }

  override transaction<Result>(work: (tx: CallTransaction<Tables>) => Result): Result {
    this.#check();
    const nested = this.#openNested();
    let result: Result;
    try {
      result = work(nested.tx);
    } catch (error) {
      return nested.undo(error);
    }
    // `as`: a promise in, a promise of the same out
    return isPromise(result) ? (result.then(nested.keep, nested.undo) as Result) : nested.keep(result);
  }

  #openNested() {
    let isOver = false;
    const guard = (): void => {
      this.#guard();
      if (isOver) throw new Error(overRefusal);
    };
    const end = (): void => {
      isOver = true;
      this.#isNesting = false;
      this.#guard();
    };
    const keep = <Value>(value: Value): Value => {
      end();
      this.#control("RELEASE");
      return value;
    };
    const undo = (error: unknown): never => {
      try {
        end();
      } catch {
        throw error; // the call is over, or SQLite has rolled everything back: the savepoint is gone
      }
      this.#control("ROLLBACK TO");
      this.#control("RELEASE");
      throw error;
    };
    this.#control("SAVEPOINT");
    this.#isNesting = true;
    return { tx: new CallTransaction(this.#connection, guard, this.nestedIndex + 1), keep, undo };
  }

  #control(command: string): void {
    this.#connection.statements.prepare(`${command} idempotent_nested_${this.nestedIndex}`).objects.run();
  }
}

const nestingRefusal =
  "A nested transaction of this one is open: write through the `tx` that its callback was given, and await its end before anything else.";
const overRefusal = "This nested transaction is over: its callback must await all that it does with `tx`.";
