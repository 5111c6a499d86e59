import { type ExtractTablesWithRelations, sql } from "drizzle-orm";
import type { PgQueryResultHKT, PgTransaction } from "drizzle-orm/pg-core";
import type { PostgresStoreOptions } from "graphql-idempotent/postgres";
import { describe } from "vitest";
import { type Entries, noon, type StoreOptions } from "../store-suite/entries.ts";
import { storeSuite } from "../store-suite/index.ts";
import type { Process, Settings } from "./connect.ts";
import { entries, openEmptyDatabase, type tables } from "./entries-database.ts";
import { faultSuite } from "./fault-suite.ts";
import { processSuite } from "./process-suite.ts";
import { transactionSuite } from "./transaction-suite.ts";

type Tables = typeof tables;

/** What the transactions of both drivers have in common. */
export type Tx = PgTransaction<PgQueryResultHKT, Tables, ExtractTablesWithRelations<Tables>>;

/** Opens the pool and the store of one process on a database. */
export type Connect<OwnTx extends Tx> = (
  url: string,
  options: PostgresStoreOptions,
  settings?: Settings,
) => Process<OwnTx>;

export interface PostgresEntries<OwnTx extends Tx> extends Entries<OwnTx> {
  readonly url: string;
  /** Runs a query on a connection that no store uses. */
  readonly query: (text: string) => Promise<Record<string, unknown>[]>;
  /** Another process, with options and settings of its own. */
  join(options?: PostgresStoreOptions, settings?: Settings, url?: string): Process<OwnTx>;
}

export type OpenPostgresEntries<OwnTx extends Tx> = (
  options?: StoreOptions & PostgresStoreOptions,
) => Promise<PostgresEntries<OwnTx>>;

/** The tests for all stores on PostgreSQL, over any driver. `migrated` is SQL that runs before them. */
export function postgresSuite<OwnTx extends Tx>(connect: Connect<OwnTx>, migrated = ""): void {
  const open: OpenPostgresEntries<OwnTx> = async (options = {}) => {
    const database = await openEmptyDatabase();
    await database.query(migrated);
    const clock = { now: noon };
    const processes: Process<OwnTx>[] = [];

    function join(own: PostgresStoreOptions = {}, settings?: Settings, url = database.url) {
      const process = connect(url, { now: () => clock.now, purgeEveryMs: 0, ...own }, settings);
      processes.push(process);
      return process;
    }

    return {
      store: join(options).store,
      clock,
      url: database.url,
      query: database.query,
      join,
      another: async () => join().store,
      insert,
      texts: async () => {
        const rows = await database.query("SELECT text FROM entries ORDER BY id");
        return rows.map(({ text }) => text as string); // `as`: the column's type
      },
      records: async () => {
        const rows = await database.query("SELECT * FROM idempotency_records ORDER BY key");
        return rows.map(recordOf);
      },
      spoil: async () => {
        await database.query("UPDATE idempotency_records SET payload = '{'");
      },
      [Symbol.asyncDispose]: async () => {
        for (const process of processes) await process[Symbol.asyncDispose]();
        await database[Symbol.asyncDispose]();
      },
    };
  };

  storeSuite(open);
  describe("between processes", () => processSuite(open));
  describe("a transaction", () => transactionSuite(open));
  describe("a fault", () => faultSuite(open));
}

/** Writes an entry, as a resolver does. */
export async function insert(tx: Tx, text: string) {
  const [entry] = await tx.insert(entries).values({ text }).returning();
  if (!entry) throw new Error("INSERT … RETURNING gives a row.");
  return entry;
}

/** The result of a query for one number. */
export async function numberFrom(tx: Tx, text: string): Promise<number> {
  const [row] = await tx.select({ value: sql<unknown>`value` }).from(sql.raw(`(${text}) AS one(value)`));
  return Number(row?.value);
}

function recordOf(row: Record<string, unknown>) {
  const number = (value: unknown) => (value === null ? null : Number(value));
  const { scope, field, key, fingerprint, format, payload } = row;
  const record = {
    ...{ scope, field, key, fingerprint, format, payload },
    resourceId: row.resource_id,
    createdAt: number(row.created_at),
    expiresAt: number(row.expires_at),
    leaseUntil: number(row.lease_until),
  };
  // `as`: what the table holds
  return record as Awaited<ReturnType<Entries<never>["records"]>>[number];
}
