import type { Database, Schema } from "../database.ts";
import type { Driver } from "./driver.ts";
import { nodePostgres } from "./node-postgres.ts";
import { postgresJs } from "./postgres-js.ts";

/** @throws {TypeError} for anything but a Drizzle database over one of the two drivers */
export function driverOf<Transaction>(db: Database<Schema>): Driver<Transaction> {
  const client: unknown = db?.$client;
  // Recognised by what they can do. Importing both drivers to compare classes would make both mandatory.
  if (typeof client === "function" && "begin" in client) return postgresJs(db as never); // `as`: just shown
  if (typeof client === "object" && client !== null && "totalCount" in client) {
    return nodePostgres(db as never); // `as`: just shown
  }
  throw new TypeError(
    "postgresStore() requires a Drizzle database over a pool of node-postgres, drizzle(new Pool(…), { schema }), or over postgres.js, drizzle(postgres(url), { schema }). A single Client can't run transactions side by side.",
  );
}
