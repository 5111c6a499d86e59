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

/** A database with the tables and nothing in them, and a connection to it for what tests do by themselves. */
export interface EmptyDatabase extends AsyncDisposable {
  readonly url: string;
  readonly query: (text: string) => Promise<Record<string, unknown>[]>;
}

/** The database of this test file, and the statements that drizzle-kit writes for its tables; both take their time. */
let made: Promise<{ readonly url: string; readonly statements: string }> | undefined;

export async function openEmptyDatabase(): Promise<EmptyDatabase> {
  made ??= makeDatabase();
  const { url, statements } = await made;
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

async function makeDatabase() {
  const server = inject("postgresUrl");
  const name = `test_${randomUUID().replaceAll("-", "")}`;
  const client = new pg.Client({ connectionString: `${server}/postgres` });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  const statements = await generateMigration(generateDrizzleJson({}), generateDrizzleJson(tables));
  return { url: `${server}/${name}`, statements: statements.join("\n") };
}
