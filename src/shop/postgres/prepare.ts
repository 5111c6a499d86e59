import { fileURLToPath } from "node:url";
import { drizzle } from "drizzle-orm/node-postgres";
import { migrate } from "drizzle-orm/node-postgres/migrator";
import type pg from "pg";
import { seed } from "../seed.ts";
import * as tables from "./tables.ts";

const migrationsFolder = fileURLToPath(new URL("../../../drizzle-postgres", import.meta.url));

/** An arbitrary number, the same in all processes of the shop. */
const lock = 1_936_224_112;

/**
 * Applies the migrations that drizzle-kit generated, and seeds, in one transaction under a lock. Processes that start
 * at the same time take turns, and a process that is killed leaves the database unchanged.
 */
export async function prepareDatabase(pool: pg.Pool, hasDemoTokens: boolean): Promise<void> {
  const client = await pool.connect();
  let isUsable = false;
  // When the connection is lost, the running statement fails, so this event needs no handling.
  client.on("error", ignore);
  try {
    // READ COMMITTED, so that statements after the lock see the rows that the previous process committed.
    await client.query(`BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(${lock})`);
    await migrate(drizzle(nested(client)), { migrationsFolder });
    await seed(drizzle(client), tables, hasDemoTokens);
    await client.query("COMMIT");
    isUsable = true;
  } finally {
    client.removeListener("error", ignore);
    client.release(!isUsable); // closing the connection rolls the transaction back
  }
}

const savepoint = new Map([
  ["begin", "SAVEPOINT migrations"],
  ["commit", "RELEASE SAVEPOINT migrations"],
  ["rollback", "ROLLBACK TO SAVEPOINT migrations"],
]);

/** Drizzle applies migrations in its own transaction, which becomes a savepoint in ours. */
function nested(client: pg.PoolClient): pg.PoolClient {
  const query = (config: { readonly text: string }, values: unknown[]) => {
    const text = savepoint.get(config.text);
    return text === undefined ? client.query(config, values) : client.query(text);
  };
  return { query } as unknown as pg.PoolClient; // `as`: Drizzle calls only `query`
}

function ignore(): void {}
