// A process without HTTP, on a file of its own.
import Sqlite from "better-sqlite3";
import { callAll, newIdentities } from "./calls.js";
import { parameters, serveParent } from "./child.js";
import { readMemory, readPragmas } from "./meters.js";
import { readProfile, startProfile } from "./profile.js";
import { idempotentResolver, noop, write } from "./servers/resolvers.js";

const { file } = parameters();
const opened = { noop: noop(), write: write({ file }), idempotent: idempotentResolver({ file }) };

/** What each kind of call runs on, and whose keys it uses. */
const kinds = {
  noop: { schema: opened.noop.schema, identitiesFor: newIdentities },
  write: { schema: opened.write.schema, identitiesFor: newIdentities },
  miss: { schema: opened.idempotent.schema, identitiesFor: newIdentities },
  recent: {
    schema: opened.idempotent.schema,
    identitiesFor: ({ calls }) => storedIdentities({ calls, newest: 10_000 }),
  },
  hit: { schema: opened.idempotent.schema, identitiesFor: storedIdentities },
};

/**
 * @param {{ kind: keyof typeof kinds, calls: number, atOnce: number, keys?: "v4" | "v7", customers?: number }} settings
 */
function run({ kind, calls, atOnce, keys = "v7", customers = 1 }) {
  const { schema, identitiesFor } = kinds[kind];
  return callAll(schema, identitiesFor({ calls, keys, customers }), atOnce);
}

/** Keys that have a record, from all over the table or out of so many of the newest. */
function storedIdentities({ calls, newest = Number.POSITIVE_INFINITY }) {
  const connection = new Sqlite(file, { readonly: true });
  const last = lastRowid();
  const among = Math.min(last, newest);
  const pick = connection.prepare("SELECT scope, key FROM idempotency_records WHERE rowid >= ? LIMIT 1");
  const identities = Array.from({ length: calls }, () => pick.get(last - Math.floor(Math.random() * among)));
  connection.close();
  return identities;
}

/** Takes out what a round of first calls has added, so that the table keeps the size that it stands for. */
function forgetAfter(lastRowid) {
  const connection = new Sqlite(file);
  connection.prepare("DELETE FROM idempotency_records WHERE rowid > ?").run(lastRowid);
  connection.close();
}

function lastRowid() {
  const connection = new Sqlite(file, { readonly: true });
  const last = connection.prepare("SELECT max(rowid) FROM idempotency_records").pluck().get();
  connection.close();
  return last;
}

serveParent(
  { pragmas: { ...readPragmas(opened.write.connections), ...readPragmas(opened.idempotent.connections) } },
  { run, lastRowid, forgetAfter, readMemory, startProfile, readProfile },
  async () => {
    await opened.write.close();
    await opened.idempotent.close();
  },
);
