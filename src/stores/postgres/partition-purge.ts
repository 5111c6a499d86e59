import { withTimeout } from "../with-timeout.ts";
import type { Driver, RawRows } from "./drivers/driver.ts";
import { textAt } from "./drivers/results.ts";
import { asStoreError, isLockTimeout, noConnection } from "./faults.ts";
import {
  makePartition,
  nameOf,
  type Partition,
  selectPartitions,
  timedPartitions,
  untimedPartitions,
} from "./partitions.ts";
import { purgeExpired } from "./purge.ts";

/** The valid values of `partitionMs`, for messages. */
export const partitionPeriod = "a number of milliseconds, at least 60000";

export function isPartitionPeriod(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 60_000;
}

/** How many partitions exist ahead of the current one. */
const partitionsAhead = 2;

/**
 * How long a change of partitions waits for running calls: at first, and at most after several failures. Calls
 * that begin during this time wait too.
 */
const minLockTimeoutMs = 100;
const maxLockTimeoutMs = 1_600;

/** How long no change is tried after one that could not get its lock. */
const pauseMs = 60_000;

type PurgeDriver = Pick<Driver<never>, "query">;

export interface PartitionPurgeOptions {
  readonly partitionMs: number;
  readonly now: () => number;
  readonly deadlineMs: number;
}

/**
 * The purge of a partitioned table. It creates partitions for the time ahead, and drops those whose time is over
 * once all their records have expired, whatever the retention of each.
 *
 * Partitions change only under a lock that excludes all calls. Otherwise a call could look for its record in one
 * partition, and find at its write that the key now belongs to another. A change that can't be made at the
 * moment is left to a later purge: records without a partition for their time go to the rest.
 *
 * - active: each run changes partitions, with the shortest lock timeout.
 * - paused, until `#pausedUntil`: a change did not get its lock. Runs delete expired records only. The next
 *   change waits twice as long for its lock; one that succeeds leads back to active.
 */
export class PartitionPurge {
  readonly #driver: PurgeDriver;
  readonly #options: PartitionPurgeOptions;
  #pausedUntil = 0;
  #lockTimeoutMs = minLockTimeoutMs;
  #hasWarned = false;

  constructor(driver: PurgeDriver, options: PartitionPurgeOptions) {
    this.#driver = driver;
    this.#options = options;
  }

  /** Purges once, and returns the number of deleted records: an estimate for those of dropped partitions. */
  async run(): Promise<number> {
    try {
      return await this.#purge();
    } catch (error) {
      throw asStoreError(error);
    }
  }

  async #purge(): Promise<number> {
    const { now, deadlineMs } = this.#options;
    const rows = await this.#query(selectPartitions);
    if (rows.length === 0) {
      this.#warnOfPlainTable();
      return purgeExpired(this.#driver, now, deadlineMs);
    }
    let purged = await this.#changePartitions(timedPartitions(rows));
    for (const name of untimedPartitions) purged += await purgeExpired(this.#driver, now, deadlineMs, name);
    return purged;
  }

  #warnOfPlainTable(): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    process.emitWarning(
      "postgresStore({ partitionMs }) requires a partitioned table, but idempotency_records is a plain one, and is purged row by row. Apply the SQL of partitionRecords in a migration, or leave partitionMs out.",
    );
  }

  /** Returns the number of records in the partitions that were dropped. */
  async #changePartitions(partitions: readonly Partition[]): Promise<number> {
    const { now } = this.#options;
    if (now() < this.#pausedUntil) return 0;
    const ended = partitions.filter(({ end }) => end <= now());
    const isDone = (await this.#makeAhead(partitions)) && (await this.#dropExpired(ended));
    this.#pausedUntil = isDone ? 0 : now() + pauseMs;
    this.#lockTimeoutMs = isDone ? minLockTimeoutMs : Math.min(2 * this.#lockTimeoutMs, maxLockTimeoutMs);
    const left = new Set((await this.#query(selectPartitions)).map((row) => textAt(row, 0)));
    return ended.filter(({ name }) => !left.has(name)).reduce((sum, { records }) => sum + records, 0);
  }

  async #makeAhead(partitions: readonly Partition[]): Promise<boolean> {
    const { partitionMs, now } = this.#options;
    const current = Math.floor(now() / partitionMs) * partitionMs;
    for (let nth = 0; nth <= partitionsAhead; nth++) {
      const begin = current + nth * partitionMs;
      const end = begin + partitionMs;
      // Partitions may overlap if their length differs: the first, and those from before a change of partitionMs.
      const overlapping = partitions.filter((partition) => partition.start < end && partition.end > begin);
      const start = Math.max(begin, ...overlapping.map((partition) => partition.end));
      if (start >= end) continue;
      const name = nameOf(start);
      const make = makePartition(name, start, end);
      if (!(await this.#change(`to_regclass('${name}') IS NULL`, "true", make))) return false;
    }
    return true;
  }

  async #dropExpired(ended: readonly Partition[]): Promise<boolean> {
    for (const { name } of ended) {
      const isExpired = `NOT EXISTS (SELECT FROM ${name} WHERE expires_at > ${this.#options.now()})`;
      const drop = `IF ${isExpired} THEN DROP TABLE ${name}; END IF;`;
      if (!(await this.#change(`to_regclass('${name}') IS NOT NULL`, isExpired, drop))) return false;
    }
    return true;
  }

  /**
   * Runs statements under the lock of the table, if both conditions hold. Several statements in one message are
   * one transaction. The advisory lock excludes the changes of other processes. Returns false if running calls
   * kept the table's lock for too long.
   */
  async #change(exists: string, isNeeded: string, statements: string): Promise<boolean> {
    try {
      await this.#query(`SET LOCAL lock_timeout = ${this.#lockTimeoutMs};
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

  async #query(text: string): Promise<RawRows> {
    return withTimeout(this.#driver.query({ text }), this.#options.deadlineMs, noConnection);
  }
}
