// Fills a database of PostgreSQL with records, as if the customers' calls of many hours had left them.
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { v7 } from "uuid";
import { once } from "../dist/index.js";
import { partitionRecords, postgresStore } from "../dist/stores/postgres/index.js";
import { makePartition, nameOf } from "../dist/stores/postgres/partitions.js";
import { createTables, schema, takeOrder } from "./postgres-work.js";
import { field, input } from "./work.js";

const hourMs = 3_600_000;

/** Keys of a time that lies `age` milliseconds back, made by PostgreSQL. */
const keyOf = {
  v7: (age) => `uuidv7(-make_interval(secs => ${age} / 1000.0))`,
  v4: () => "gen_random_uuid()",
};

/**
 * Live records are up to 20 of their 24 hours old, in the order of time, and expired ones lie before them.
 *
 * @param {string} url of a database that nobody else uses
 * @param {{ count: number, expired?: number, keys: "v4" | "v7", customers: number, isPartitioned?: boolean }} plan
 */
export async function fillDatabase(url, { count, expired = 0, keys, customers, isPartitioned = false }) {
  await createTables(url);
  const template = await realRecord(url);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const started = performance.now();
  try {
    await client.query("SET maintenance_work_mem = '1GB'");
    if (isPartitioned) await partition(client);
    const indexes = await takeIndexes(client);
    await client.query("BEGIN");
    // A table that is emptied in the same transaction has no need of a log (wal_level = minimal).
    await client.query("TRUNCATE idempotency_records");
    const perRecord = (20 * hourMs) / count;
    await insertRecords(client, template, {
      keys,
      customers,
      from: 26 * hourMs,
      step: hourMs / expired,
      count: expired,
    });
    await insertRecords(client, template, { keys, customers, from: 20 * hourMs, step: perRecord, count });
    for (const definition of indexes) await client.query(definition);
    await client.query("COMMIT");
    await client.query("VACUUM (ANALYZE) idempotency_records");
    await client.query("CHECKPOINT");
    const seconds = (performance.now() - started) / 1000;
    return { seconds, bytes: isPartitioned ? null : await bytesOf(client) };
  } finally {
    await client.end();
  }
}

/** What a record takes in bytes, in the table and in each index; of partitions, nothing is told. */
async function bytesOf(client) {
  const { rows } = await client.query(
    `SELECT count(*)::float8 AS records,
       pg_table_size('idempotency_records')::float8 AS table,
       pg_relation_size(to_regclass('idempotency_records_key'))::float8 AS key,
       pg_relation_size(to_regclass('idempotency_records_resource_id'))::float8 AS "resourceId",
       pg_relation_size(to_regclass('idempotency_records_expires_at'))::float8 AS "expiresAt"
     FROM idempotency_records`,
  );
  const [{ records, ...bytes }] = rows;
  return Object.fromEntries(Object.entries(bytes).map(([what, size]) => [what, size / records]));
}

/** A record that the package itself has written, with a note that makes its payload one of 450 bytes. */
async function realRecord(url) {
  const pool = new pg.Pool({ connectionString: url });
  const store = postgresStore(drizzle(pool, { schema }), { purgeEveryMs: 0 });
  const identity = { scope: "customer-0", field, key: v7() };
  await once(store, { ...identity, input: { input } }, (tx) => takeOrder(tx, input));
  const { rows } = await pool.query("DELETE FROM idempotency_records RETURNING *");
  await pool.end();
  const [record] = rows;
  const order = JSON.parse(record.payload);
  order.note = order.note.padEnd(order.note.length + 450 - record.payload.length, ", or with the one above");
  return { ...record, payload: JSON.stringify(order) };
}

/** Takes the indexes away, and returns what makes them anew: at the end that is faster. */
async function takeIndexes(client) {
  const { rows } = await client.query(
    "SELECT indexname AS name, indexdef AS definition FROM pg_indexes WHERE tablename = 'idempotency_records'",
  );
  await client.query("ALTER TABLE idempotency_records DROP CONSTRAINT idempotency_records_key");
  const others = rows.filter(({ name }) => name !== "idempotency_records_key");
  for (const { name } of others) await client.query(`DROP INDEX ${name}`);
  return [
    "ALTER TABLE idempotency_records ADD CONSTRAINT idempotency_records_key PRIMARY KEY (key, field, scope)",
    ...others.map(({ definition }) => definition.replace(" ON ONLY ", " ON ")), // of the partitions as well
  ];
}

/** Partitions of an hour, as a purge would have made them in the course of time. */
async function partition(client) {
  await client.query(partitionRecords);
  await client.query("DROP TABLE idempotency_records_first");
  const now = Math.floor(Date.now() / hourMs) * hourMs;
  for (let start = now - 26 * hourMs; start < now + 2 * hourMs; start += hourMs) {
    await client.query(makePartition(nameOf(start), start, start + hourMs));
  }
}

async function insertRecords(client, template, { keys, customers, from, step, count }) {
  if (count === 0) return;
  const [before, after] = template.payload.split(template.resource_id);
  const now = Date.now();
  await client.query(
    `INSERT INTO idempotency_records (scope, field, key, fingerprint, resource_id, format, payload, created_at, expires_at)
     SELECT 'customer-' || floor(random() * ${customers}), $1::text, ${keyOf[keys]("age")}, $2::text, id, 'json',
       $3::text || id || $4::text, ${now} - age, ${now} - age + ${24 * hourMs}
     FROM (SELECT floor(${from} - nth * ${step}::float8)::bigint AS age,
         uuidv7(-make_interval(secs => (${from} - nth * ${step}) / 1000.0))::text AS id
       FROM generate_series(1, ${count}) AS nth OFFSET 0) AS made`,
    [template.field, template.fingerprint, before, after],
  );
}
