import type { RawRows } from "./drivers/driver.ts";
import { numberAt, textAt } from "./drivers/results.ts";

/** A partition for keys of some span of time. */
export interface Partition {
  readonly name: string;
  /** The span of its keys, in milliseconds since the epoch; the end is exclusive. */
  readonly start: number;
  readonly end: number;
  /** The number of its records, by PostgreSQL's statistics. */
  readonly records: number;
}

/** The partitions for keys outside every time span. */
export const untimedPartitions = [
  "idempotency_records_low",
  "idempotency_records_high",
  "idempotency_records_rest",
];

/** How keys made at a time begin, as UUIDv7 are written. */
export function keysFrom(time: number): string {
  const hex = time.toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}

/** Creates a partition, and moves records into it that are in the rest because their client's clock was ahead. */
export function makePartition(name: string, start: number, end: number): string {
  const [from, to] = [keysFrom(start), keysFrom(end)];
  return `CREATE TABLE ${name} (LIKE idempotency_records);
    WITH moved AS (DELETE FROM idempotency_records_rest WHERE key >= '${from}' AND key < '${to}' RETURNING *)
      INSERT INTO ${name} SELECT * FROM moved;
    ALTER TABLE idempotency_records ATTACH PARTITION ${name} FOR VALUES FROM ('${from}') TO ('${to}');`;
}

/** The name of the partition that starts at a time: idempotency_records_20261124t100000000z. */
export function nameOf(start: number): string {
  return `idempotency_records_${new Date(start).toISOString().replaceAll(/[-:.]/g, "").toLowerCase()}`;
}

/** Lists all partitions; a plain table has none. */
export const selectPartitions = `\
SELECT child.relname AS name, pg_get_expr(child.relpartbound, child.oid) AS bounds,
  pg_stat_get_live_tuples(child.oid) AS records
FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = 'idempotency_records'::regclass
ORDER BY name`;

/** The partitions with a time span, from the rows of {@link selectPartitions}. */
export function timedPartitions(rows: RawRows): Partition[] {
  return rows.flatMap((row) => {
    if (row[1] === null) return []; // it is being dropped at this moment
    const [, from = "", to = ""] = /FROM \('(.*)'\) TO \('(.*)'\)/.exec(textAt(row, 1)) ?? [];
    const [start, end] = [timeOf(from), timeOf(to)];
    return end > 0 ? [{ name: textAt(row, 0), start, end, records: numberAt(row, 2) }] : [];
  });
}

/** The reverse of {@link keysFrom}; 0 for shorter bounds, such as the start of the first partition. */
function timeOf(bound: string): number {
  return bound.length === 13 ? Number.parseInt(bound.replace("-", ""), 16) : 0;
}
