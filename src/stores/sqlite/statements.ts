import type Sqlite from "better-sqlite3";
import { LRUCache } from "lru-cache";
import { transactionControl } from "../transaction-control.ts";

/** Throws when the statement must not run now. */
export type Guard = () => void;

/**
 * The statements of one connection, prepared once for each SQL text: preparing is the largest part of a Drizzle
 * query's cost on SQLite.
 */
export class StatementCache {
  readonly #connection: Sqlite.Database;
  // Bounded, since the text of some queries depends on their input (`IN (?, ?, …)`).
  readonly #statements = new LRUCache<string, CachedStatement>({ max: 500 });

  constructor(connection: Sqlite.Database) {
    this.#connection = connection;
  }

  prepare(sql: string): CachedStatement {
    const cached = this.#statements.get(sql);
    if (cached) return cached;
    const statement = new CachedStatement(this.#connection, sql);
    this.#statements.set(sql, statement);
    return statement;
  }

  /** The part of a connection that Drizzle uses. The guard is called before each run of a statement. */
  clientFor(guard: Guard): Sqlite.Database {
    const client = {
      prepare: (sql: string) => {
        const statement = this.prepare(sql);
        if (statement.refusal !== undefined) throw new Error(statement.refusal);
        return new GuardedStatement(statement, guard);
      },
    };
    // `as`: all that Drizzle's session calls is `prepare`, but for `transaction`, which ours replaces
    return client as unknown as Sqlite.Database;
  }
}

/** Why a statement is refused, if it begins or ends a transaction. */
const refusalOf = transactionControl(["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"]);

/**
 * Two statements of one text, since a better-sqlite3 statement stays in the mode that `raw()` put it in, and
 * one query's mode must not leak into another's.
 */
class CachedStatement {
  readonly objects: Sqlite.Statement;
  /** Set if the statement begins or ends a transaction. */
  readonly refusal: string | undefined;
  readonly #connection: Sqlite.Database;
  #arrays: Sqlite.Statement | undefined;

  constructor(connection: Sqlite.Database, sql: string) {
    this.objects = connection.prepare(sql);
    this.refusal = refusalOf(sql);
    this.#connection = connection;
  }

  get arrays(): Sqlite.Statement {
    this.#arrays ??= this.#connection.prepare(this.objects.source).raw();
    return this.#arrays;
  }
}

/** The part of a better-sqlite3 statement that Drizzle uses. */
class GuardedStatement {
  readonly #statement: CachedStatement;
  readonly #guard: Guard;
  readonly #isRaw: boolean;

  constructor(statement: CachedStatement, guard: Guard, isRaw = false) {
    this.#statement = statement;
    this.#guard = guard;
    this.#isRaw = isRaw;
  }

  raw(): GuardedStatement {
    return new GuardedStatement(this.#statement, this.#guard, true);
  }

  run(...parameters: unknown[]): Sqlite.RunResult {
    this.#guard();
    return this.#statement.objects.run(...parameters);
  }

  get(...parameters: unknown[]): unknown {
    this.#guard();
    return (this.#isRaw ? this.#statement.arrays : this.#statement.objects).get(...parameters);
  }

  all(...parameters: unknown[]): unknown[] {
    this.#guard();
    return (this.#isRaw ? this.#statement.arrays : this.#statement.objects).all(...parameters);
  }
}
