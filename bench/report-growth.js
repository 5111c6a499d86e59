// The results of growth as Markdown.
import { kindsOfCalls } from "./growth.js";
import { range, table } from "./markdown.js";
import { median, proportion, spread } from "./statistics.js";

export function growth(results) {
  if (!results) return [];
  return [
    "## Growth",
    `In process, 64 calls at once, ${results[0].customers} customers.`,
    growthTable(results, ["bytes a record"], ({ bytesPerRecord }) => [bytesPerRecord.toFixed(0)]),
  ];
}

export function postgresGrowth(results) {
  if (!results) return [];
  return [
    "## Growth on PostgreSQL",
    `In process, 64 calls at once, ${results[0].customers} customers. Bytes of a record in a table and indexes that were just filled.`,
    growthTable(
      results,
      ["bytes in the table", "in its indexes"],
      ({ bytes: { table: inTable, ...indexes } }) => [
        inTable.toFixed(0),
        Object.values(indexes)
          .map((size) => size.toFixed(0))
          .join(" + "),
      ],
    ),
  ];
}

function growthTable(results, bytesHead, bytesCells) {
  return table(
    ["", "keys", "records", "µs a call", "× the smallest", "CPU µs", "p99 ms", ...bytesHead],
    results.map((result) => {
      const { kind, keys, records, samples } = result;
      const smallest = results.find((other) => other.kind === kind && other.keys === keys);
      return [
        kindsOfCalls[kind],
        `UUID${keys}`,
        records.toLocaleString("en"),
        range(spread(samples.map(({ microseconds }) => microseconds)), 0),
        range(
          proportion(samples, smallest.samples, ({ microseconds }) => microseconds),
          2,
        ),
        median(samples.map(({ cpuMicroseconds }) => cpuMicroseconds)).toFixed(0),
        (median(samples.map(({ latencyUs }) => latencyUs.p99)) / 1000).toFixed(1),
        ...bytesCells(result),
      ];
    }),
  );
}

export function postgresPurge(results) {
  if (!results) return [];
  const mebibytes = (bytes) => (bytes / 2 ** 20).toFixed(0);
  return [
    "## Purge on PostgreSQL",
    `${results[0].records.toLocaleString("en")} live records, 200 requests/s over 16 connections all the while; sizes and dead rows at the end of each phase. Autovacuum looks every 5 seconds.`,
    table(
      [
        ...["table", "", "seconds", "requests/s", "failed", "p50 ms", "p99 ms", "max ms"],
        ...["PostgreSQL's CPU s", "dead rows", "table MiB", "indexes MiB", "autovacuum"],
      ],
      results.map((result) => [
        result.table,
        result.phase,
        result.seconds.toFixed(1),
        result.perSecond.toFixed(0),
        result.failures,
        ...[result.latencyMs.p50, result.latencyMs.p99, result.latencyMs.max].map((ms) => ms.toFixed(1)),
        result.databaseCpuSeconds?.toFixed(1) ?? "",
        result.dead.toLocaleString("en"),
        mebibytes(result.tableBytes),
        mebibytes(result.indexBytes),
        result.autovacuums > 0 ? `${result.autovacuums}, ${result.autovacuumSeconds.toFixed(1)} s` : "",
      ]),
    ),
  ];
}
