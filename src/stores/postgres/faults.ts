import { IdempotencyError, unavailable } from "../../errors.ts";

/**
 * SQLSTATEs that speak of the server, its disk or its connections, not of the statement
 * (postgresql.org/docs/current/errcodes-appendix.html): a connection that fails or is refused, too few resources, a server
 * that shuts down or starts up, system and internal errors, a standby that can't be written to, and a
 * transaction that the server ended because it was idle for too long.
 */
const storeFault = /^(?:08|28|3D|53|57P|58|F0|XX|25006$|25P03$|25P04$)/;
/** A serialization failure and a deadlock: the server asks for the transaction to be run again. */
const transient = /^(?:40001|40P01)$/;

/** The SQLSTATE of what PostgreSQL itself answered, at the root of an error. */
export function sqlStateOf(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ("severity" in cause && "code" in cause && typeof cause.code === "string") return cause.code;
  }
  return undefined;
}

/** The name of the violated constraint: node-postgres and postgres.js each have their own for it. */
export function constraintOf(error: unknown): unknown {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ("constraint" in cause) return cause.constraint;
    if ("constraint_name" in cause) return cause.constraint_name;
  }
  return undefined;
}

export function isStoreFault(error: unknown): boolean {
  return storeFault.test(sqlStateOf(error) ?? "");
}

export function isTransient(error: unknown): boolean {
  return transient.test(sqlStateOf(error) ?? "");
}

/** `statement_timeout` ended the statement, or an administrator did. */
export function isCancelled(error: unknown): boolean {
  return sqlStateOf(error) === "57014";
}

export function isLockTimeout(error: unknown): boolean {
  return sqlStateOf(error) === "55P03";
}

export function noConnection(): IdempotencyError {
  return unavailable("No connection to the database became free in time.");
}

/** The error of a statement of the store's own that stands alone: nobody but the database can have caused it. */
export function asFaultOfStore(error: unknown): Error {
  if (error instanceof IdempotencyError) return error;
  const state = sqlStateOf(error);
  if (state === "42P01" || state === "42703") {
    return new Error(
      "The database has no table for idempotency records, or one of another form. Re-export idempotencyRecords of graphql-idempotent/postgres from your Drizzle schema, generate a migration with drizzle-kit, and apply it.",
      { cause: error },
    );
  }
  return unavailable("The database can't be used right now.", error);
}
