import type Sqlite from "better-sqlite3";
import { LRUCache } from "lru-cache";

/** Throws when the statement must not run now. */
export type Guard = () => void;

/**
 * The statements of one connection, prepared once for each SQL text: most of what a Drizzle query costs on
 * SQLite is preparing it anew.
 */
export class StatementCache {
  readonly #connection: Sqlite.Database;
  // Queries whose text depends on their input (`IN (?, ?, …)`) would grow an unbounded cache for ever.
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

  /** What Drizzle takes for a connection. Each run of a statement passes the guard first. */
  clientFor(guard: Guard): Sqlite.Database {
    const client = {
      prepare: (sql: string) => {
        const statement = this.prepare(sql);
        if (statement.controlsTransaction) throw new Error(refusal(sql));
        return new GuardedStatement(statement, guard);
      },
    };
    // `as`: all that Drizzle's session calls is `prepare`, but for `transaction`, which ours replaces
    return client as unknown as Sqlite.Database;
  }
}

/** White space and comments, as SQLite skips them, and then a statement that begins or ends transactions. */
const control =
  /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[\s\S]*?(?:\*\/|$))*(?:BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b/i;

function refusal(sql: string): string {
  return `Transactions begin and end by themselves here, so "${sql.trim().slice(0, 40)}" is refused. To undo part of a call's writes, use tx.transaction(); to undo all of them, throw.`;
}

/**
 * Two statements of one text, since a better-sqlite3 statement stays in the mode that `raw()` put it in, and
 * one query's mode must not leak into another's.
 */
class CachedStatement {
  readonly objects: Sqlite.Statement;
  readonly controlsTransaction: boolean;
  readonly #connection: Sqlite.Database;
  #arrays: Sqlite.Statement | undefined;

  constructor(connection: Sqlite.Database, sql: string) {
    this.objects = connection.prepare(sql);
    this.controlsTransaction = control.test(sql);
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
