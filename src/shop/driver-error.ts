import { DrizzleQueryError } from "drizzle-orm";

/** Returns the driver's own error. Drizzle's wrapper contains the query and its values, which must not be logged. */
export function driverErrorOf(error: unknown): unknown {
  return error instanceof DrizzleQueryError ? error.cause : error;
}
