import { causesOf, type IdempotencyError, isIdempotencyError, unavailable } from "../../errors.ts";

/** A row that the store can't read. What it means is unknown: never that a key is free. */
export class UnreadableRow extends Error {
  constructor(reason: string) {
    super(
      `The database's driver has returned a row of the store in another form than PostgreSQL sent it: ${reason}. An option of the driver that changes rows or values, such as \`transform\`, is the likely cause.`,
    );
  }
}

/**
 * SQLSTATEs that concern the server, its disk or its connections, not the statement
 * (postgresql.org/docs/current/errcodes-appendix.html): failed and refused connections, missing resources,
 * shutdown and startup, system and internal errors, writes to a standby, and a transaction that the server
 * ended because it was idle for too long.
 */
const storeFault = /^(?:08|28|3D|53|57P|58|F0|XX|25006$|25P03$|25P04$)/;
/** A serialization failure and a deadlock: the server asks for another run of the transaction. */
const transient = /^(?:40001|40P01)$/;

/** The SQLSTATE of the server's own error, if there is one among an error and its causes. */
export function sqlStateOf(error: unknown): string | undefined {
  for (const cause of causesOf(error)) {
    if ("severity" in cause && "code" in cause && typeof cause.code === "string") return cause.code;
  }
  return undefined;
}

/** The name of the violated constraint, which node-postgres and postgres.js keep under different names. */
export function constraintOf(error: unknown): unknown {
  for (const cause of causesOf(error)) {
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

/** Whether `statement_timeout` or an administrator ended the statement. */
export function isCancelled(error: unknown): boolean {
  return sqlStateOf(error) === "57014";
}

export function isLockTimeout(error: unknown): boolean {
  return sqlStateOf(error) === "55P03";
}

export function noConnection(): IdempotencyError {
  return unavailable("No connection to the database became free in time.");
}

/** Translates the error of a statement outside of calls' transactions, which no resolver can have caused. */
export function asStoreError(error: unknown): Error {
  if (isIdempotencyError(error) || error instanceof UnreadableRow) return error;
  const state = sqlStateOf(error);
  if (state === "42P01" || state === "42703") {
    return new Error(
      "The database has no table for idempotency records, or one of another form. Re-export idempotencyRecords of graphql-idempotent/postgres from your Drizzle schema, generate a migration with drizzle-kit, and apply it.",
      { cause: error },
    );
  }
  return unavailable("The database can't be used right now.", error);
}
