import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import pg from "pg";
import { inject } from "vitest";

/** A new database for a shop, of the engine that the tests run on; removed at the end. */
export interface NewDatabase extends AsyncDisposable {
  /** As DATABASE_URL takes it. */
  readonly url: string;
  /** As the shop shows it. */
  readonly location: string;
  /** Reads, or writes, past the shop. */
  query(sql: string): Promise<Row[]>;
  /** Makes every writing call wait until it is released; reading goes on. */
  lock(): Promise<() => Promise<void>>;
}

// biome-ignore lint/suspicious/noExplicitAny: the columns are those of the query
export type Row = Record<string, any>;

/** vitest.config.ts runs these tests twice: in the project that has no PostgreSQL server, they run on SQLite. */
export function newDatabase(): Promise<NewDatabase> {
  const server: string | undefined = inject("postgresUrl");
  return server === undefined ? newFile() : newDatabaseOn(server);
}

export interface NewFile extends NewDatabase {
  readonly directory: string;
  connect(): Sqlite.Database;
}

export async function newFile(): Promise<NewFile> {
  const directory = newDirectory();
  const file = join(directory, "shop.db");
  const connections: Sqlite.Database[] = [];

  function connect(): Sqlite.Database {
    const connection = new Sqlite(file, { fileMustExist: true });
    connections.push(connection);
    return connection;
  }

  let ours: Sqlite.Database | undefined;
  return {
    url: `file:${file}`,
    location: file,
    directory,
    connect,
    async query(sql) {
      ours ??= connect();
      const statement = ours.prepare(sql);
      if (statement.reader) return statement.all() as Row[]; // `as`: a row is an object
      statement.run();
      return [];
    },
    async lock() {
      const connection = connect();
      connection.exec("BEGIN IMMEDIATE");
      return async () => void connection.exec("COMMIT");
    },
    async [Symbol.asyncDispose]() {
      for (const connection of connections) connection.close();
      rmSync(directory, { recursive: true });
    },
  };
}

async function newDatabaseOn(server: string): Promise<NewDatabase> {
  const name = `shop_${randomUUID().replaceAll("-", "")}`;
  const url = `${server}/${name}`;
  await run(`${server}/postgres`, `CREATE DATABASE ${name}`);
  const pool = new pg.Pool({ connectionString: url });
  pool.on("error", () => {}); // when a test ends all connections
  return {
    url,
    location: url.replace(/\/\/.*@/, "//"),
    query: async (sql) => (await pool.query(sql)).rows,
    async lock() {
      const client = await pool.connect();
      await client.query("BEGIN; LOCK TABLE orders, customers IN EXCLUSIVE MODE");
      return async () => {
        await client.query("COMMIT");
        client.release();
      };
    },
    async [Symbol.asyncDispose]() {
      await pool.end();
      await run(`${server}/postgres`, `DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

async function run(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(sql);
  await client.end();
}

export function newDirectory(): string {
  return mkdtempSync(join(tmpdir(), "graphql-idempotent-shop-"));
}
