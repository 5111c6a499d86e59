// A process without HTTP: graphql-js executes the parsed operation, many at once, on a file of its own.
import { createHistogram } from "node:perf_hooks";
import Sqlite from "better-sqlite3";
import { execute, parse } from "graphql";
import { v4, v7 } from "uuid";
import { parameters, serveParent } from "./child.js";
import { readMemory, readPragmas } from "./meters.js";
import { readProfile, startProfile } from "./profile.js";
import { idempotentResolver, noop, write } from "./servers/resolvers.js";
import { input, operation } from "./work.js";

const { file } = parameters();
const document = parse(operation);
const opened = { noop: noop(), write: write({ file }), idempotent: idempotentResolver({ file }) };
const makeKey = { v4, v7 };

/** What each kind of call runs on, and whose keys it uses. */
const kinds = {
  noop: { schema: opened.noop.schema, keysFor: newKeys },
  write: { schema: opened.write.schema, keysFor: newKeys },
  miss: { schema: opened.idempotent.schema, keysFor: newKeys },
  hit: { schema: opened.idempotent.schema, keysFor: storedKeys },
};

/**
 * @param {{ kind: keyof typeof kinds, calls: number, atOnce: number, keys?: "v4" | "v7", customers?: number }} settings
 */
async function run({ kind, calls, atOnce, keys = "v7", customers = 1 }) {
  const { schema, keysFor } = kinds[kind];
  const identities = keysFor({ calls, keys, customers });
  const latency = createHistogram();
  let next = 0;

  async function caller() {
    while (next < identities.length) {
      const { scope, key } = identities[next++];
      const started = performance.now();
      const { data, errors } = await execute({
        schema,
        document,
        variableValues: { input, key },
        contextValue: { customer: scope },
      });
      latency.record(Math.max(1, Math.round((performance.now() - started) * 1000)));
      if (errors || !data?.createOrder.id) throw new Error(`A call failed: ${errors}`);
    }
  }

  const cpu = process.cpuUsage();
  const started = performance.now();
  await Promise.all(Array.from({ length: atOnce }, caller));
  const microseconds = ((performance.now() - started) * 1000) / calls;
  const { user, system } = process.cpuUsage(cpu);
  return {
    microseconds,
    cpuMicroseconds: (user + system) / calls,
    latencyUs: { p50: latency.percentile(50), p99: latency.percentile(99) },
  };
}

function newKeys({ calls, keys, customers }) {
  return Array.from({ length: calls }, () => ({
    scope: `customer-${Math.floor(Math.random() * customers)}`,
    key: makeKey[keys](),
  }));
}

/** Keys that have a record, from all over the table. */
function storedKeys({ calls }) {
  const connection = new Sqlite(file, { readonly: true });
  const last = lastRowid();
  const pick = connection.prepare("SELECT scope, key FROM idempotency_records WHERE rowid >= ? LIMIT 1");
  const identities = Array.from({ length: calls }, () => pick.get(1 + Math.floor(Math.random() * last)));
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
