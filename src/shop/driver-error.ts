import { DrizzleQueryError } from "drizzle-orm";

/** What the driver said. Drizzle's error around it holds the whole query, and values that have no business in a log. */
export function driverErrorOf(error: unknown): unknown {
  return error instanceof DrizzleQueryError ? error.cause : error;
}
