import { drizzle } from "drizzle-orm/node-postgres";
import { postgresStore } from "graphql-idempotent/postgres";
import pg from "pg";
import type { ShopDatabase } from "../database.ts";
import { prepareDatabase } from "./prepare.ts";
import { reasonOf } from "./reason.ts";
import * as tables from "./tables.ts";

/** @throws {Error} that says in one line, without the URL's password, why the database can't be used */
export async function openPostgres(url: string, hasDemoTokens: boolean): Promise<ShopDatabase> {
  const location = withoutSecrets(url);
  const pool = openPool(url);
  try {
    await prepareDatabase(pool, hasDemoTokens);
  } catch (cause) {
    await pool.end();
    throw new Error(`The database ${location} can't be used: ${reasonOf(cause)}`, { cause });
  }
  const db = drizzle(pool, { schema: tables });
  return { tables, db, store: postgresStore(db), location, close: () => pool.end() };
}

function openPool(url: string): pg.Pool {
  const pool = new pg.Pool({
    connectionString: url,
    application_name: "shop",
    // PostgreSQL allows 100 connections by default, for all processes of the shop together.
    max: 20,
    connectionTimeoutMillis: 5_000,
    // Transactions have their own timeouts, see postgresStore(). This one detects a server that no longer answers. It
    // is longer than a call may wait for a duplicate and then run.
    query_timeout: 30_000,
    keepAlive: true,
  });
  // The pool replaces an idle connection that is lost. Without a listener, Node ends the process.
  pool.on("error", ({ message }) => console.error(`A connection to the database was lost: ${message}`));
  return pool;
}

/** Leaves out the URL's parameters, which may hold a password too. */
function withoutSecrets(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}
