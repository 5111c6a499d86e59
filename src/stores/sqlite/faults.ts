import Sqlite from "better-sqlite3";
import { causesOf, unavailable } from "../../errors.ts";

/** Result codes that speak of the file, its disk or its locks, not of the statement (sqlite.org/rescode.html). */
const storeFault =
  /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|CORRUPT|NOTADB|NOMEM|PROTOCOL|NOLFS|INTERRUPT)/;

/** The SQLite error at the root of an error, if there is one. It never throws, whatever a resolver has thrown. */
export function sqliteErrorIn(error: unknown): InstanceType<typeof Sqlite.SqliteError> | undefined {
  return causesOf(error).find((cause) => cause instanceof Sqlite.SqliteError);
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
