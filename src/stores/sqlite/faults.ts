import Sqlite from "better-sqlite3";
import { unavailable } from "../../errors.ts";

/** Result codes that speak of the file, its disk or its locks, not of the statement (sqlite.org/rescode.html). */
const storeFault =
  /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|CORRUPT|NOTADB|NOMEM|PROTOCOL|NOLFS|INTERRUPT)/;

/** Deepest chain of causes that is searched: a chain can be a circle. */
const maxDepth = 20;

/** The SQLite error at the root of an error, if there is one. It never throws, whatever a resolver has thrown. */
export function sqliteErrorIn(error: unknown): InstanceType<typeof Sqlite.SqliteError> | undefined {
  try {
    let cause = error;
    for (let depth = 0; depth < maxDepth && cause instanceof Error; depth++) {
      if (cause instanceof Sqlite.SqliteError) return cause;
      cause = cause.cause;
    }
  } catch {
    // An error whose `cause` can't be read has none of SQLite's.
  }
  return undefined;
}

export function isBusy(error: unknown): boolean {
  return sqliteErrorIn(error)?.code.startsWith("SQLITE_BUSY") ?? false;
}

/** A fault of the store becomes IDEMPOTENCY_STORE_UNAVAILABLE; any other error stays what it is. */
export function asStoreError(error: unknown): unknown {
  const root = sqliteErrorIn(error);
  return root && storeFault.test(root.code)
    ? unavailable("The database can't be used right now.", error)
    : error;
}
