import type { Store } from "graphql-idempotent";
import type { PostgresStoreOptions } from "graphql-idempotent/postgres";
import { v7 } from "uuid";
import { afterEach, beforeEach } from "vitest";
import { type EmptyDatabase, openEmptyDatabase } from "./entries-database.ts";
import { type Connect, insert, type Tx } from "./postgres-suite.ts";

export const hour = 3_600_000;

/** A database for each test, whose stores have partitions of an hour. Its table is a plain one at first. */
export interface PartitionedEntries<OwnTx extends Tx> {
  readonly url: string;
  readonly query: EmptyDatabase["query"];
  /** The clock of its stores: tests set it. */
  time: number;
  /** The store of another process. */
  join(options?: PostgresStoreOptions): Store<OwnTx>;
  /** The partitions' names, without what they have in common. */
  partitions(): Promise<string[]>;
  /** How many records each partition has, but for those that have none. */
  places(): Promise<Record<string, number>>;
}

export function partitionedEntries<OwnTx extends Tx>(connect: Connect<OwnTx>): PartitionedEntries<OwnTx> {
  let database: EmptyDatabase;
  let disposables: AsyncDisposable[];

  beforeEach(async () => {
    database = await openEmptyDatabase();
    disposables = [database];
    entries.time = startOf(Date.now()) + hour + 10 * 60_000; // the first partition ends before it
  });

  afterEach(async () => {
    for (const one of disposables.reverse()) await one[Symbol.asyncDispose]();
  });

  const entries: PartitionedEntries<OwnTx> = {
    get url() {
      return database.url;
    },
    query: (text) => database.query(text),
    time: 0,
    join(options = {}) {
      const own = { now: () => entries.time, purgeEveryMs: 0, partitionMs: hour, ...options };
      const process = connect(database.url, own);
      disposables.push(process);
      return process.store;
    },
    async partitions() {
      const rows = await database.query(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'idempotency_records'::regclass ORDER BY 1",
      );
      return rows.map(({ name }) => shortName(name));
    },
    async places() {
      const rows = await database.query(
        "SELECT tableoid::regclass::text AS name, count(*)::int AS count FROM idempotency_records GROUP BY 1",
      );
      return Object.fromEntries(rows.map(({ name, count }) => [shortName(name), Number(count)]));
    },
  };
  return entries;
}

function shortName(name: unknown): string {
  return String(name).replace("idempotency_records_", "");
}

/** The name of the partition that begins then. */
export function nameOf(start: number): string {
  return new Date(start).toISOString().replaceAll(/[-:.]/g, "").toLowerCase();
}

export function startOf(time: number): number {
  return Math.floor(time / hour) * hour;
}

export function keyAt(msecs: number): string {
  return v7({ msecs });
}

export function add(text: string) {
  return (tx: Tx) => insert(tx, text);
}
