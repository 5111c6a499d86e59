// The built package in a process that isn't root's, whose folder is closed to it while a call runs:
// node forbidden-folder.mjs <folder>
import { chmodSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { sql } from "drizzle-orm";
import { once } from "graphql-idempotent";
import { openDatabase, sqliteStore } from "graphql-idempotent/sqlite";

const folder = join(process.argv[2], "data");
const file = join(folder, "data.db");
new Sqlite(":memory:").close(); // loads the driver's binary while this user may still enter the checkout
if (process.getuid() === 0) {
  chmodSync(process.argv[2], 0o777);
  process.setuid(65_534); // nobody: root may enter any folder
}
mkdirSync(folder);

const connection = new Sqlite(file);
connection.exec(`
  CREATE TABLE effects (a INTEGER);
  CREATE TABLE idempotency_records (scope TEXT NOT NULL, field TEXT NOT NULL, key TEXT NOT NULL,
    fingerprint TEXT NOT NULL, resource_id TEXT, format TEXT NOT NULL, payload TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, lease_until INTEGER, fencing_token INTEGER,
    PRIMARY KEY (key, field, scope))`);
connection.close();
const database = openDatabase(file, { schema: {} });
const store = sqliteStore(database, { purgeEveryMs: 0 });

/** Whether the call was a replay, or the error that it got. */
async function call(key, before = () => {}) {
  try {
    const { replayed } = await once(store, { scope: "a", field: "effect", key }, (tx) => {
      tx.run(sql`INSERT INTO effects VALUES (1)`);
      before();
      return null;
    });
    return replayed;
  } catch ({ code, message, extensions }) {
    return { code: code ?? message, safeToUseNewKey: extensions?.idempotency.safeToUseNewKey };
  }
}

function isForbidden() {
  try {
    statSync(file);
    return false;
  } catch ({ code }) {
    return code === "EACCES";
  }
}

const first = await call("first", () => chmodSync(folder, 0o000));
const forbidden = isForbidden();
const meanwhile = [await call("first"), await call("other")];
chmodSync(folder, 0o777);
const afterwards = [await call("first"), await call("other")];
const [effects] = database.db.values(sql`SELECT count(*) FROM effects`).flat();
await database.close();
console.log(JSON.stringify({ forbidden, first, meanwhile, afterwards, effects }));
