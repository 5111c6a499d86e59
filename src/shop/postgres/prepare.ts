import { fileURLToPath } from "node:url";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate } from "drizzle-orm/node-postgres/migrator";
import type pg from "pg";
import { seed } from "../seed.ts";
import * as tables from "./tables.ts";

const migrationsFolder = fileURLToPath(new URL("../../../drizzle-postgres", import.meta.url));

/** Any number will do that is the same in all processes of the shop. */
const lock = 1_936_224_112;

/**
 * Applies the migrations that drizzle-kit generated, and seeds, in one transaction under a lock: processes that
 * start at once do so one after the other, and one that is killed meanwhile leaves nothing half done.
 */
export async function prepareDatabase(pool: pg.Pool, hasDemoTokens: boolean): Promise<void> {
  const client = await pool.connect();
  let isUsable = false;
  // Of a connection that is lost, the statement under way tells.
  client.on("error", ignore);
  try {
    // READ COMMITTED, so that what is read behind the lock is what the process before has committed.
    await client.query(`BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(${lock})`);
    await migrate(drizzle(nested(client)), { migrationsFolder });
    await seed(drizzle(client), tables, hasDemoTokens);
    await client.query("COMMIT");
    isUsable = true;
  } finally {
    client.removeListener("error", ignore);
    client.release(!isUsable); // a connection that is closed rolls back by itself
  }
}

const savepoint = new Map([
  ["begin", "SAVEPOINT migrations"],
  ["commit", "RELEASE SAVEPOINT migrations"],
  ["rollback", "ROLLBACK TO SAVEPOINT migrations"],
]);

/** Drizzle applies migrations in a transaction of its own, which becomes a savepoint of ours. */
function nested(client: pg.PoolClient): pg.PoolClient {
  const query = (config: { readonly text: string }, values: unknown[]) => {
    const text = savepoint.get(config.text);
    return text === undefined ? client.query(config, values) : client.query(text);
  };
  return { query } as unknown as pg.PoolClient; // `as`: all that Drizzle calls is `query`
}

function ignore(): void {}
