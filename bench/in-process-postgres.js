// A process without HTTP, on a PostgreSQL database of its own.
import pg from "pg";
import { callAll, newIdentities } from "./calls.js";
import { parameters, serveParent } from "./child.js";
import { idempotentResolver } from "./servers/postgres.js";

const settings = parameters();
const { schema, close } = idempotentResolver({ ...settings, processes: 1, store: { purgeEveryMs: 0 } });
const client = new pg.Client({ connectionString: settings.postgresUrl });
await client.connect();

/** @param {{ kind: "miss" | "hit", calls: number, atOnce: number, keys: "v4" | "v7", customers: number }} settings */
async function run({ kind, atOnce, ...wanted }) {
  const identities = kind === "miss" ? newIdentities(wanted) : await storedIdentities(wanted);
  return callAll(schema, identities, atOnce);
}

/** Keys that have a live record, from all over the table: of random places, where there is one. */
async function storedIdentities({ calls }) {
  const { rows } = await client.query(
    `SELECT scope, key FROM idempotency_records WHERE ctid = ANY (ARRAY(
       SELECT format('(%s,%s)', floor(random() * pg_relation_size('idempotency_records') / 8192), 1 + floor(random() * 10))::tid
       FROM generate_series(1, $1::int))) AND expires_at > $2`,
    [calls, Date.now() + 600_000],
  );
  return Array.from({ length: calls }, () => rows[Math.floor(Math.random() * rows.length)]);
}

async function lastExpiry() {
  const { rows } = await client.query("SELECT max(expires_at) AS last FROM idempotency_records");
  return rows[0].last;
}

/** Takes out what a round of first calls has added, so that the table keeps the size that it stands for. */
async function forgetAfter(expiry) {
  await client.query("DELETE FROM idempotency_records WHERE expires_at > $1", [expiry]);
}

serveParent({}, { run, lastExpiry, forgetAfter }, async () => {
  await client.end();
  await close();
});
