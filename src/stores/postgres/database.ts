import type { NodePgDatabase } from "drizzle-orm/node-postgres";
import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";
import type { PostgresJsDatabase as DrizzlePostgresJs } from "drizzle-orm/postgres-js";
import type { Pool } from "pg";
import type { Sql } from "postgres";

/** A schema as Drizzle takes it: the exports of the file that defines the tables. */
export type Schema = Record<string, unknown>;

/** A Drizzle database over a pool of node-postgres, or over postgres.js. */
export type Database<Tables extends Schema> = NodePostgresDatabase<Tables> | PostgresJsDatabase<Tables>;
export type NodePostgresDatabase<Tables extends Schema> = NodePgDatabase<Tables> & { readonly $client: Pool };
export type PostgresJsDatabase<Tables extends Schema> = DrizzlePostgresJs<Tables> & { readonly $client: Sql };

/** What both have in common: they build the same queries. */
export type AnyDatabase = PgDatabase<PgQueryResultHKT, Schema>;
