// What many records do on PostgreSQL: to the cost of a call, and to a purge, row by row or by partitions.
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { startChild } from "./child.js";
import { fillDatabase } from "./postgres-fill.js";
import { input, operation } from "./work.js";

const customers = 10_000;
const kindsOfKeys = ["v7", "v4"];

/** What docs/scaling.md tells users of many records to set. */
const autovacuumSetting = "autovacuum_vacuum_scale_factor = 0.03";

/** PostgreSQL for a fill without a log, and so that autovacuum shows what it does within minutes. */
export const growthFlags = [
  "wal_level=minimal",
  "max_wal_senders=0",
  "max_wal_size=8GB",
  "shared_buffers=1GB",
  "autovacuum_naptime=5s",
];

/**
 * Makes a database for each kind of keys and each number of records, and one that is partitioned. This one and
 * the largest with UUIDv7 keys have expired records besides, to be purged at the end.
 *
 * @param {ReturnType<typeof import("./services.js").startPostgres>} postgres
 * @param {{ sizes: number[], expired: number, log: (line: string) => void }} plan
 */
export async function fillPostgresGrowth(postgres, { sizes, expired, log }) {
  const largest = sizes.at(-1);
  const plans = [
    ...sizes.map((count) => ({ keys: "v7", count, ...(count === largest && { expired }) })),
    ...sizes.map((count) => ({ keys: "v4", count })),
    { keys: "v7", count: largest, expired, isPartitioned: true },
  ];
  const databases = [];
  for (const plan of plans) {
    const name = `records_${plan.keys}_${plan.count}${plan.isPartitioned ? "_partitioned" : ""}`;
    const url = await postgres.createDatabase(name);
    const { seconds, bytes } = await fillDatabase(url, { ...plan, customers });
    databases.push({ name, url, ...plan, bytes });
    log(`${name}: filled in ${seconds.toFixed(0)} s, bytes a record ${JSON.stringify(bytes)}`);
  }
  return databases;
}

/** First calls and replays, in process, on databases that hold different numbers of records, in turn. */
export async function measurePostgresGrowth(databases, { rounds, calls, log }) {
  const results = [];
  for (const keys of kindsOfKeys) {
    const own = databases.filter((database) => database.keys === keys && !database.isPartitioned);
    results.push(...(await measureDatabases(own, { keys, rounds, calls, log })));
  }
  return results;
}

async function measureDatabases(databases, { keys, rounds, calls, log }) {
  const running = [];
  const results = ["miss", "hit"].flatMap((kind) =>
    databases.map(({ count, bytes }) => ({ keys, kind, records: count, bytes, customers, samples: [] })),
  );
  try {
    for (const { url, count } of databases) {
      const settings = { postgresUrl: url, postgresConnections: 20 };
      running.push({ records: count, child: await startChild("in-process-postgres.js", settings) });
    }
    for (let round = 0; round <= rounds; round++) {
      for (const kind of ["miss", "hit"]) {
        for (const { records, child } of running) {
          const last = await child.ask("lastExpiry");
          const sample = await child.ask("run", { kind, calls, atOnce: 64, keys, customers });
          if (kind === "miss") await child.ask("forgetAfter", last);
          if (round === 0) continue; // it warms up
          results.find((result) => result.kind === kind && result.records === records).samples.push(sample);
        }
      }
    }
  } finally {
    for (const { child } of running) await child.stop();
  }
  for (const { kind, records, samples } of results) {
    const times = samples.map(({ microseconds }) => microseconds.toFixed(0)).join(" ");
    log(`growth on PostgreSQL: ${kind} with UUID${keys} keys, ${records} records: ${times} µs a call`);
  }
  return results;
}

/**
 * Lets a server purge what has expired while it is under load, and autovacuum clean up after it: of the plain
 * table with the settings as they come and then with those that we recommend, and of the partitioned one.
 */
export async function measurePostgresPurge(postgres, databases, plan) {
  const results = [];
  for (const database of databases.filter(({ expired }) => expired)) {
    const { expired, isPartitioned } = database;
    const { phase, recommend, purged, vacuumed, close } = await openPurge(postgres, database, plan);
    const pass = (seconds) => sleep(seconds * 1000);
    try {
      results.push(await phase("nothing to purge", () => pass(plan.seconds)));
      results.push(await phase(`purge of ${expired.toLocaleString("en")}`, purged));
      results.push(await phase("after it", () => pass(2 * plan.seconds)));
      if (isPartitioned) continue;
      await recommend();
      results.push(await phase("with the setting, until autovacuum is through", vacuumed));
      results.push(await phase("after that", () => pass(plan.seconds)));
    } finally {
      await close();
    }
  }
  return results;
}

/** A server on one of the databases, its load, and how a phase of it is measured. */
async function openPurge(postgres, { name, url, count, isPartitioned }, { seconds, limitSeconds, log }) {
  const store = { purgeEveryMs: 0, ...(isPartitioned && { partitionMs: 3_600_000 }) };
  const settings = { postgresUrl: url, postgresConnections: 20, processes: 1, store };
  const server = await startChild("server.js", { server: "postgresIdempotent", ...settings });
  const generator = await startChild("load.js", { operation, input });
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const load = { urls: [server.hello.url], connections: 16, perSecond: 200, keys: "v7" };
  await generator.ask("send", { ...load, seconds: seconds / 2 }); // warms up

  async function phase(what, during) {
    const cpuSeconds = await postgres.cpuSeconds();
    const before = await stateOf(client);
    const sending = generator.ask("send", { ...load, seconds: limitSeconds });
    await Promise.race([during(), sending]);
    await generator.ask("stop");
    const sent = await sending;
    const { autovacuums, autovacuumMs, ...state } = await stateOf(client);
    const result = {
      table: isPartitioned ? "partitioned" : "plain",
      phase: what,
      records: count,
      ...sent,
      databaseCpuSeconds: cpuSeconds === null ? null : (await postgres.cpuSeconds()) - cpuSeconds,
      ...state,
      autovacuums: autovacuums - before.autovacuums,
      autovacuumSeconds: (autovacuumMs - before.autovacuumMs) / 1000,
    };
    log(`${name}, ${what}: ${JSON.stringify(result)}`);
    return result;
  }

  /** A partition is dropped in a moment without a call; when there is none, the next purge tries again. */
  async function purged() {
    const latest = performance.now() + limitSeconds * 1000;
    for (let left = 1; left > 0 && performance.now() < latest; ) {
      await server.ask("purge");
      const { rows } = await client.query(
        "SELECT count(*)::int AS left FROM (SELECT FROM idempotency_records WHERE expires_at <= $1 LIMIT 1) AS expired",
        [Date.now() - 600_000],
      );
      left = rows[0].left;
      if (left > 0) await sleep(1_000);
    }
  }

  async function vacuumed() {
    const { autovacuums } = await stateOf(client);
    const latest = performance.now() + limitSeconds * 1000;
    while ((await stateOf(client)).autovacuums === autovacuums && performance.now() < latest)
      await sleep(500);
  }

  async function close() {
    await client.end();
    await server.stop();
    await generator.stop();
  }

  const recommend = () => client.query(`ALTER TABLE idempotency_records SET (${autovacuumSetting})`);
  return { phase, recommend, purged, vacuumed, close };
}

/**
 * What the table takes, with all its partitions, how much of it is dead, and what autovacuum has done, as
 * PostgreSQL tells from version 18 on.
 */
async function stateOf(client) {
  await client.query("SELECT pg_stat_force_next_flush()");
  const { rows } = await client.query(
    `SELECT sum(pg_table_size(oid))::float8 AS "tableBytes", sum(pg_indexes_size(oid))::float8 AS "indexBytes",
       sum(pg_stat_get_dead_tuples(oid))::float8 AS dead,
       sum(pg_stat_get_autovacuum_count(oid))::float8 AS autovacuums,
       sum(pg_stat_get_total_autovacuum_time(oid)) AS "autovacuumMs"
     FROM pg_class WHERE relkind = 'r' AND relname LIKE 'idempotency_records%'`,
  );
  return rows[0];
}
