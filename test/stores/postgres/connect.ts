import { drizzle as drizzleNodePostgres } from "drizzle-orm/node-postgres";
import { drizzle as drizzlePostgresJs } from "drizzle-orm/postgres-js";
import type { Store } from "graphql-idempotent";
import { type PostgresStoreOptions, postgresStore } from "graphql-idempotent/postgres";
import pg from "pg";
import postgres from "postgres";
import { tables } from "./entries-database.ts";

const poolSize = 10;
const silent = () => {};

/** What PostgreSQL sees of one process: a pool of connections, with a store on it. */
export interface Process<Tx> extends AsyncDisposable {
  readonly store: Store<Tx>;
  /** Takes every connection of the pool, and returns a function that releases them. */
  occupy(): Promise<() => void>;
}

/** Session settings, as a role or a connection string may set them. */
export type Settings = Readonly<Record<string, string>>;

export function connectNodePostgres(url: string, options: PostgresStoreOptions, settings: Settings = {}) {
  const flags = Object.entries(settings).map(([name, value]) => `-c ${name}=${value.replaceAll(" ", "\\ ")}`);
  const pool = new pg.Pool({ connectionString: url, max: poolSize, options: flags.join(" ") });
  const db = drizzleNodePostgres(pool, { schema: tables });
  return {
    store: postgresStore(db, options),
    occupy: async () => {
      const clients = await Promise.all(Array.from({ length: poolSize }, () => pool.connect()));
      return () => {
        for (const client of clients) client.release();
      };
    },
    [Symbol.asyncDispose]: () => pool.end(),
  };
}

export function connectPostgresJs(url: string, options: PostgresStoreOptions, settings: Settings = {}) {
  const client = postgres(url, {
    max: poolSize,
    connection: settings,
    onnotice: silent,
    backoff: () => 0.01,
  });
  const db = drizzlePostgresJs(client, { schema: tables });
  return {
    store: postgresStore(db, options),
    occupy: async () => {
      const reserved = await Promise.all(Array.from({ length: poolSize }, () => client.reserve()));
      return () => {
        for (const one of reserved) one.release();
      };
    },
    [Symbol.asyncDispose]: () => client.end({ timeout: 1 }),
  };
}
