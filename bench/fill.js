// A process that fills a file with records, as if the customers' calls of many hours had left them.
import { setImmediate as nextTurn } from "node:timers/promises";
import Sqlite from "better-sqlite3";
import { v4, v7 } from "uuid";
import { once } from "../dist/index.js";
import { openDatabase, sqliteStore } from "../dist/stores/sqlite/index.js";
import { parameters, serveParent } from "./child.js";
import { createDatabaseFile, field, input, schema, takeOrder } from "./work.js";

const hourMs = 3_600_000;

/**
 * @param {{ file: string, count: number, keys: "v4" | "v7", customers: number, expired?: boolean }} settings
 */
async function fill({ file, count, keys, customers, expired = false }) {
  await createDatabaseFile(file);
  const template = await realRecord(file);
  const connection = new Sqlite(file);
  // Nothing is lost if this is: the file has no past. The cache spares random keys the way to the disk.
  connection.pragma("journal_mode = OFF");
  connection.pragma("synchronous = OFF");
  connection.pragma("cache_size = -3000000");
  // Both grow in the order of time, so they come out the same when they are built at the end, and faster.
  const indexes = connection
    .prepare(
      "SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'idempotency_records' AND type = 'index' AND sql <> ''",
    )
    .all();
  const bytesBefore = bytesOf(connection);
  const started = performance.now();
  connection.exec("BEGIN");
  for (const { name } of indexes) connection.exec(`DROP INDEX ${name}`);
  await insertRecords(connection, template, { count, keys, customers, expired });
  for (const { sql } of indexes) connection.exec(sql);
  connection.exec("COMMIT");
  const seconds = (performance.now() - started) / 1000;
  const bytesPerRecord = (bytesOf(connection) - bytesBefore) / count;
  connection.pragma("journal_mode = WAL");
  connection.close();
  return { seconds, bytesPerRecord };
}

async function insertRecords(connection, template, { count, keys, customers, expired }) {
  const columns = Object.keys(template);
  const insert = connection.prepare(
    `INSERT INTO idempotency_records (${columns.join(", ")}) VALUES (${columns.map((name) => `@${name}`).join(", ")})`,
  );
  const record = { ...template };
  const [payloadBefore, payloadAfter] = template.payload.split(template.resource_id);
  // Live records are up to 20 of their 24 hours old, so none runs out while it is measured.
  const end = Date.now() - (expired ? 30 * hourMs : 0);
  for (let index = 0; index < count; index++) {
    const createdAt = Math.floor(end - 20 * hourMs * (1 - index / count));
    const orderId = v7({ msecs: createdAt, random: randomBytes() });
    record.scope = customer(Math.floor(Math.random() * customers));
    record.key = keys === "v7" ? v7({ msecs: createdAt, random: randomBytes() }) : v4();
    record.payload = payloadBefore + orderId + payloadAfter;
    record.resource_id = orderId;
    record.created_at = createdAt;
    record.expires_at = createdAt + 24 * hourMs;
    insert.run(record);
    if (index % 10_000 === 0) await nextTurn(); // to hear whether main is still there
  }
}

/** A record that the package itself has written; it is taken out again. */
async function realRecord(file) {
  const database = openDatabase(file, { schema });
  const key = v7();
  await once(sqliteStore(database), { scope: customer(0), field, key, input: { input } }, (tx) =>
    takeOrder(tx, input),
  );
  const reading = new Sqlite(file);
  const record = reading.prepare("SELECT * FROM idempotency_records").get();
  reading.prepare("DELETE FROM idempotency_records").run();
  reading.close();
  await database.close();
  return record;
}

const pool = new Uint8Array(16 * 4096);
let used = pool.length;

/** Random bytes of an UUID, out of a pool, since asking for them one by one takes longer than the insert. */
function randomBytes() {
  if (used === pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  used += 16;
  return pool.subarray(used - 16, used);
}

function customer(number) {
  return `customer-${number}`;
}

function bytesOf(connection) {
  return connection.pragma("page_count", { simple: true }) * connection.pragma("page_size", { simple: true });
}

const { file } = parameters();
serveParent({ file }, { fill: (settings) => fill({ file, ...settings }) });
