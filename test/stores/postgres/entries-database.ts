import { randomUUID } from "node:crypto";
import { generateDrizzleJson, generateMigration } from "drizzle-kit/api";
import { pgTable, serial, text } from "drizzle-orm/pg-core";
import { idempotencyRecords } from "graphql-idempotent/postgres";
import pg from "pg";
import { inject } from "vitest";

export const entries = pgTable("entries", {
  id: serial("id").primaryKey(),
  text: text("text").notNull().unique(),
});

export const tables = { entries, idempotencyRecords };

/** A database with empty tables, and a connection to it for the tests' own queries. */
export interface EmptyDatabase extends AsyncDisposable {
  readonly url: string;
  readonly query: (text: string) => Promise<Record<string, unknown>[]>;
}

/** The database of this test file on each server, with drizzle-kit's statements: both are slow to make. */
const made = new Map<string, Promise<{ readonly url: string; readonly statements: string }>>();

export async function openEmptyDatabase(server = inject("postgresUrl")): Promise<EmptyDatabase> {
  const making = made.get(server) ?? makeDatabase(server);
  made.set(server, making);
  const { url, statements } = await making;
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {}); // when a test ends all connections
  await client.connect();
  await client.query(`DROP SCHEMA public CASCADE; CREATE SCHEMA public; ${statements}`);
  return {
    url,
    query: async (text) => (await client.query(text)).rows,
    [Symbol.asyncDispose]: () => client.end(),
  };
}

async function makeDatabase(server: string) {
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  const client = new pg.Client({ connectionString: `${server}/postgres` });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  const statements = await generateMigration(generateDrizzleJson({}), generateDrizzleJson(tables));
  return { url: `${server}/${name}`, statements: statements.join("\n") };
}
