import { sql } from "drizzle-orm";
import { withTimeout } from "../with-timeout.ts";
import type { AnyDatabase, RawRows } from "./drivers/driver.ts";
import { asFaultOfStore, isLockTimeout, noConnection } from "./faults.ts";
import { purgeExpired } from "./purge.ts";

/**
 * SQL that turns the table of records into one that is partitioned by the time that UUIDv7 keys begin with; for
 * a migration of your own (`drizzle-kit generate --custom`), after the one that makes the table. What the table
 * holds is kept. `postgresStore(db, { partitionMs })` then makes partitions ahead and drops those that are over.
 *
 * By range of the key, since PostgreSQL lets no primary key do without the columns it is partitioned by: so the
 * key stays unique over all partitions by the primary key alone, where a partition by `created_at` or
 * `expires_at` could hold the same key as another. Keys that are no UUIDv7 lie before, after and between those
 * of the time, and their records are deleted row by row, as those of a plain table.
 */
export const partitionRecords = `\
ALTER TABLE idempotency_records RENAME TO idempotency_records_plain;
ALTER TABLE idempotency_records_plain DROP CONSTRAINT idempotency_records_key;
DROP INDEX idempotency_records_resource_id, idempotency_records_expires_at;
-- So that the order of keys is that of their characters, whatever the database's language.
ALTER TABLE idempotency_records_plain ALTER COLUMN key TYPE text COLLATE "C";
CREATE TABLE idempotency_records (LIKE idempotency_records_plain) PARTITION BY RANGE (key);
ALTER TABLE idempotency_records ADD CONSTRAINT idempotency_records_key PRIMARY KEY (key, field, scope);
CREATE INDEX idempotency_records_resource_id ON idempotency_records (resource_id);
CREATE INDEX idempotency_records_expires_at ON idempotency_records (expires_at);
-- UUIDv7 of 2004 to 2039 begin with 01.
CREATE TABLE idempotency_records_low PARTITION OF idempotency_records FOR VALUES FROM (MINVALUE) TO ('01');
CREATE TABLE idempotency_records_high PARTITION OF idempotency_records FOR VALUES FROM ('02') TO (MAXVALUE);
CREATE TABLE idempotency_records_rest PARTITION OF idempotency_records DEFAULT;
DO $$ BEGIN
  EXECUTE format(
    'CREATE TABLE idempotency_records_first PARTITION OF idempotency_records FOR VALUES FROM (''01'') TO (%L)',
    overlay(lpad(to_hex((floor(extract(epoch FROM now()) * 1000))::bigint), 12, '0') PLACING '-' FROM 9 FOR 0)
  );
END $$;
INSERT INTO idempotency_records SELECT * FROM idempotency_records_plain;
DROP TABLE idempotency_records_plain;
`;

/** The partitions for keys of no time of ours. */
const others = ["idempotency_records_low", "idempotency_records_high", "idempotency_records_rest"];

/** What a period of partitions must be, for messages. */
export const partitionPeriod = "a number of milliseconds, at least 60000";

export function isPartitionPeriod(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 60_000;
}

interface Partition {
  readonly name: string;
  /** The time that its keys are from, in milliseconds since the epoch. */
  readonly start: number;
  readonly end: number;
  /** By PostgreSQL's statistics. */
  readonly records: number;
}

/** How many partitions are made ahead of time. */
const ahead = 2;

/**
 * How many milliseconds a change waits for calls under way, at first, and at most when that was not enough; calls
 * that begin meanwhile wait as long.
 */
const [leastPatienceMs, mostPatienceMs] = [100, 1_600];

/** How long a change that found no moment without a call is left alone. */
const pauseMs = 60_000;

/**
 * The purge of a partitioned table: makes partitions for the time to come, and drops those whose time is over
 * once nothing in them is live, whatever the retention of each record.
 *
 * Partitions change only under a lock that no call shares: a call that has looked for its record in one
 * partition can't find, when it writes, that its key now belongs into another. What can't be changed at the
 * moment is left for the next purge: without a partition of their time, records go to the rest.
 */
export function partitionPurge(
  db: AnyDatabase,
  { partitionMs, now, deadlineMs }: { partitionMs: number; now: () => number; deadlineMs: number },
): () => Promise<number> {
  let pausedUntil = 0;
  let patienceMs = leastPatienceMs;
  let hasWarned = false;

  async function run(text: string): Promise<RawRows> {
    // `as`: what the two drivers return for one statement
    const running = db.execute(sql.raw(text)) as Promise<RawRows | { readonly rows: RawRows }>;
    const result = await withTimeout(running, deadlineMs, noConnection);
    return "rows" in result ? result.rows : result;
  }

  /**
   * Several statements in one message are one transaction. The lock keeps other processes' changes apart. False when
   * calls under way have lasted for too long.
   */
  async function change(exists: string, isNeeded: string, statements: string): Promise<boolean> {
    try {
      await run(`SET LOCAL lock_timeout = ${patienceMs};
DO $$ BEGIN
  IF pg_try_advisory_xact_lock(hashtext('idempotency_records partitions')) AND ${exists} THEN
    IF ${isNeeded} THEN
      LOCK TABLE ONLY idempotency_records IN ACCESS EXCLUSIVE MODE;
      ${statements}
    END IF;
  END IF;
END $$`);
      return true;
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      return false;
    }
  }

  async function makeAhead(partitions: readonly Partition[]): Promise<boolean> {
    const current = Math.floor(now() / partitionMs) * partitionMs;
    for (let nth = 0; nth <= ahead; nth++) {
      const begin = current + nth * partitionMs;
      const end = begin + partitionMs;
      // Behind those that reach into this time, such as the first, or from when partitionMs was another.
      const before = partitions.filter((partition) => partition.start < end && partition.end > begin);
      const start = Math.max(begin, ...before.map((partition) => partition.end));
      if (start >= end) continue;
      const name = nameOf(start);
      const make = makePartition(name, start, end);
      if (!(await change(`to_regclass('${name}') IS NULL`, "true", make))) return false;
    }
    return true;
  }

  async function dropOver(ended: readonly Partition[]): Promise<boolean> {
    for (const { name } of ended) {
      const isOver = `NOT EXISTS (SELECT FROM ${name} WHERE expires_at > ${now()})`;
      const drop = `IF ${isOver} THEN DROP TABLE ${name}; END IF;`;
      if (!(await change(`to_regclass('${name}') IS NOT NULL`, isOver, drop))) return false;
    }
    return true;
  }

  async function changePartitions(all: RawRows): Promise<number> {
    if (now() < pausedUntil) return 0;
    const partitions = all.flatMap(partitionOf);
    const ended = partitions.filter(({ end }) => end <= now());
    const isDone = (await makeAhead(partitions)) && (await dropOver(ended));
    pausedUntil = isDone ? 0 : now() + pauseMs;
    patienceMs = isDone ? leastPatienceMs : Math.min(2 * patienceMs, mostPatienceMs);
    const left = new Set((await run(selectPartitions)).map(({ name }) => name));
    return ended.filter(({ name }) => !left.has(name)).reduce((sum, { records }) => sum + records, 0);
  }

  function warn(): void {
    if (hasWarned) return;
    hasWarned = true;
    process.emitWarning(
      "postgresStore({ partitionMs }) requires a partitioned table, but idempotency_records is a plain one, and is purged row by row. Apply the SQL of partitionRecords in a migration, or leave partitionMs out.",
    );
  }

  async function purge(): Promise<number> {
    const all = await run(selectPartitions);
    if (all.length === 0) {
      warn();
      return purgeExpired(db, now, deadlineMs);
    }
    let purged = await changePartitions(all);
    for (const name of others) purged += await purgeExpired(db, now, deadlineMs, name);
    return purged;
  }

  return () =>
    purge().catch((error: unknown) => {
      throw asFaultOfStore(error);
    });
}

/** The beginning of the keys that were made at a time, as UUIDv7 are written. */
export function keysFrom(time: number): string {
  const hex = time.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}

/** What has come to the rest before its partition was made, from a clock that is ahead, moves into it. */
export function makePartition(name: string, start: number, end: number): string {
  const [from, to] = [keysFrom(start), keysFrom(end)];
  return `CREATE TABLE ${name} (LIKE idempotency_records);
    WITH moved AS (DELETE FROM idempotency_records_rest WHERE key >= '${from}' AND key < '${to}' RETURNING *)
      INSERT INTO ${name} SELECT * FROM moved;
    ALTER TABLE idempotency_records ATTACH PARTITION ${name} FOR VALUES FROM ('${from}') TO ('${to}');`;
}

/** The time that a partition begins at: idempotency_records_20261124t100000000z. */
export function nameOf(start: number): string {
  return `idempotency_records_${new Date(start).toISOString().replaceAll(/[-:.]/g, "").toLowerCase()}`;
}

const selectPartitions = `\
SELECT child.relname AS name, pg_get_expr(child.relpartbound, child.oid) AS bounds,
  pg_stat_get_live_tuples(child.oid) AS records
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'idempotency_records'::regclass
ORDER BY name`;

/** None of one that has no time. */
function partitionOf({ name, bounds, records }: RawRows[number]): Partition[] {
  const [, from = "", to = ""] = /FROM \('(.*)'\) TO \('(.*)'\)/.exec(String(bounds)) ?? [];
  const [start, end] = [timeOf(from), timeOf(to)];
  return end > 0 ? [{ name: String(name), start, end, records: Number(records) }] : [];
}

/** The reverse of {@link keysFrom}; 0 for what is shorter, as the beginning of the first one is. */
function timeOf(bound: string): number {
  return bound.length === 13 ? Number.parseInt(bound.replace("-", ""), 16) : 0;
}
