import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";
import type { PostgresJsDatabase as DrizzlePostgresJs } from "drizzle-orm/postgres-js";
import type { Pool } from "pg";
import type { Sql } from "postgres";
import type { Watch } from "../watch.ts";
import { nodePostgres } from "./node-postgres.ts";
import { postgresJs } from "./postgres-js.ts";

/** A schema as Drizzle takes it: the exports of the file that defines the tables. */
export type Schema = Record<string, unknown>;

/** A Drizzle database over a pool of node-postgres, or over postgres.js. */
export type Database<Tables extends Schema> = NodePostgresDatabase<Tables> | PostgresJsDatabase<Tables>;
export type NodePostgresDatabase<Tables extends Schema> = NodePgDatabase<Tables> & { readonly $client: Pool };
export type PostgresJsDatabase<Tables extends Schema> = DrizzlePostgresJs<Tables> & { readonly $client: Sql };

/** What both have in common: they write the same queries. */
export type AnyDatabase = PgDatabase<PgQueryResultHKT, Schema>;

/** The rows of one statement, by the names of their columns, as the driver read them. */
export type RawRows = readonly Readonly<Record<string, unknown>>[];

/** How a transaction ends, once its work is done. */
export interface Ending<Result> {
  readonly result: Result;
  /** Statements that are sent together with COMMIT. */
  readonly closing: string;
  /** Undoes all that the work has written, before `closing`. */
  readonly undo: boolean;
}

/** All in which the drivers differ. */
export interface Driver<Transaction> {
  /**
   * Runs a transaction: `opening`, two statements or more, is sent together with BEGIN, as far as the driver
   * can; its results are given to `work`, of those statements at least that have rows; the ending that `work`
   * returns is carried out.
   *
   * Tells `watch` what happens to the connection. Rejects with what `work`, a statement or the connection
   * failed with; the connection is usable or gone then, never in a transaction.
   */
  transaction<Result>(
    watch: Watch,
    opening: string,
    mayUndo: boolean,
    work: (tx: Transaction, opened: readonly RawRows[]) => Promise<Ending<Result>>,
  ): Promise<Result>;
}

/** @throws {TypeError} for anything but a Drizzle database over one of the two drivers */
export function driverOf<Transaction>(db: Database<Schema>): Driver<Transaction> {
  const client: unknown = db?.$client;
  // By what they can do: importing the drivers to compare classes would make both of them everybody's dependency.
  if (typeof client === "function" && "begin" in client) return postgresJs(db as never); // `as`: just shown
  if (typeof client === "object" && client !== null && "totalCount" in client)
    return nodePostgres(db as never);
  throw new TypeError(
    "postgresStore() requires a Drizzle database over a pool of node-postgres, drizzle(new Pool(…), { schema }), or over postgres.js, drizzle(postgres(url), { schema }). A single Client can't run transactions side by side.",
  );
}

/** Drizzle's session of `db`, over another client: so a transaction is Drizzle's own, and its statements pass by us. */
export function sessionOver(db: object, client: object): DrizzleSession {
  // `as`: Drizzle keeps a database's session from its types
  const { session } = db as { readonly session: object };
  return Object.create(session, { client: { value: client } }) as DrizzleSession;
}

interface DrizzleSession {
  transaction<Result>(work: (tx: never) => Promise<Result>): Promise<Result>;
}

/** The results of several statements that were sent as one text: node-postgres wraps each one's rows. */
export function rowsOf(results: unknown): readonly RawRows[] {
  // `as`: what the two drivers return for such a text
  return (results as readonly (RawRows | { readonly rows: RawRows })[]).map((result) =>
    "rows" in result ? result.rows : result,
  );
}
