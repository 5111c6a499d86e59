// node bench/postgres/main.js [--seconds 4] [--rounds 5]
// What protection costs on PostgreSQL, and what several API processes gain.
import { randomUUID } from "node:crypto";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual, parseArgs } from "node:util";
import { startChild } from "../child.js";
import { startPostgres } from "../services.js";
import { proportion, spread } from "../statistics.js";
import { input, operation } from "../work.js";
import { createTables } from "./work.js";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "4" },
    rounds: { type: "string", default: "5" },
    connections: { type: "string", default: "64" },
    pool: { type: "string", default: "20" },
    only: { type: "string", multiple: true, default: [] },
  },
});
const seconds = Number(values.seconds);
const rounds = Number(values.rounds);
const connections = Number(values.connections);
const poolSize = Number(values.pool);

const trials = [
  { name: "plain", server: "plain", title: "plain transaction, node-postgres" },
  {
    name: "protected",
    server: "protected",
    title: "@idempotent, node-postgres: advisory lock",
    protects: true,
  },
  {
    name: "protected-v4",
    server: "protected",
    title: "@idempotent, node-postgres, UUIDv4 keys",
    keys: "v4",
    protects: true,
  },
  { name: "insert-first", server: "insertFirst", title: "@idempotent, node-postgres: insert first" },
  { name: "replay", server: "protected", title: "replays, node-postgres", keys: "replay", protects: true },
  { name: "plain-postgres-js", server: "plainPostgresJs", title: "plain transaction, postgres.js" },
  {
    name: "protected-postgres-js",
    server: "protectedPostgresJs",
    title: "@idempotent, postgres.js",
    protects: true,
  },
  { name: "three", server: "protected", title: "@idempotent, node-postgres, three processes", processes: 3 },
  { name: "dbos", server: "dbos", title: "DBOS Transact, the transaction as a step", protects: true },
].filter(({ name }) => values.only.length === 0 || values.only.includes(name));

// PostgreSQL takes the folder from TMPDIR: what it is on decides what a commit costs.
const folder = await mkdtemp(join(tmpdir(), "graphql-idempotent-bench-"));
await chmod(folder, 0o755); // PostgreSQL may run as a user of its own
const postgres = await startPostgres(folder);
const running = [];
const samples = new Map(trials.map(({ name }) => [name, []]));
try {
  await createTables(postgres.url);
  for (const trial of trials) running.push(await start(trial));
  for (const one of running) if (one.trial.protects) await checkReplay(one);
  for (const one of running) await warmUp(one);
  for (let round = 1; round <= rounds; round++) {
    for (const one of running) samples.get(one.trial.name).push(await measure(one));
    const line = trials.map(({ name }) => `${name} ${Math.round(samples.get(name).at(-1).perSecond)}`);
    console.error(`round ${round} of ${rounds}: ${line.join(" · ")}`);
  }
  report();
} finally {
  for (const { servers, generators } of running) {
    for (const child of [...servers, ...generators]) await child.stop();
  }
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
}

/** Each API process has a generator of its own, and its part of the connections. */
async function start(trial) {
  const { processes = 1 } = trial;
  const parts = Array.from({ length: processes }, (_, index) => index);
  const pool = Math.ceil(poolSize / processes);
  const parameters = { server: trial.server, url: postgres.url, connections: pool };
  const servers = await Promise.all(parts.map(() => startChild("postgres/server.js", parameters)));
  const generators = await Promise.all(parts.map(() => startChild("load.js", { operation, input })));
  return { trial, servers, generators };
}

/** By number, not by time: a process that shares the cores with many would else be measured before it is compiled. */
async function warmUp({ trial, servers, generators }) {
  if (trial.keys === "replay") {
    const [{ hello }] = servers;
    await generators[0].ask("fill", { url: hello.url, pool: trial.name, size: 5_000 });
  }
  await send({ trial, servers, generators }, { amount: 4_000 });
}

async function send({ trial, servers, generators }, howLong) {
  const keys = trial.keys === "replay" ? { pool: trial.name } : (trial.keys ?? "v7");
  const load = { connections: Math.ceil(connections / servers.length), ...howLong, keys };
  const loads = await Promise.all(
    servers.map(({ hello }, index) => generators[index].ask("send", { url: hello.url, ...load })),
  );
  const failures = loads.reduce((sum, { failures }) => sum + failures, 0);
  if (failures > 0) throw new Error(`${trial.name}: ${failures} requests failed.`);
  return loads;
}

async function measure(one) {
  await Promise.all(one.servers.map((server) => server.ask("startMeters")));
  const loads = await send(one, { seconds });
  const meters = await Promise.all(one.servers.map((server) => server.ask("readMeters")));
  const sum = (list, of) => list.reduce((total, item) => total + of(item), 0);
  const requests = sum(loads, (load) => load.requests);
  const executed = sum(meters, (meter) => meter.executed);
  const isRight = one.trial.keys === "replay" ? executed === 0 : executed >= requests;
  if (!isRight)
    throw new Error(`${one.trial.name}: ${requests} answers, but the resolver ran ${executed} times.`);
  return {
    perSecond: sum(loads, (load) => load.perSecond),
    p50: Math.max(...loads.map(({ latencyMs }) => latencyMs.p50)),
    p99: Math.max(...loads.map(({ latencyMs }) => latencyMs.p99)),
    serverCpu: sum(meters, (meter) => meter.cpuSeconds) / seconds,
    generatorCpu: sum(loads, (load) => load.generatorBusy),
  };
}

/** Sends one request twice, so that nothing is measured that protects nothing. */
async function checkReplay({ trial, servers: [server] }) {
  const key = randomUUID();
  const request = {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "customer-1", "idempotency-key": key },
    body: JSON.stringify({ query: operation, variables: { input, key } }),
  };
  await server.ask("startMeters");
  const first = await (await fetch(server.hello.url, request)).json();
  const second = await (await fetch(server.hello.url, request)).json();
  const { executed } = await server.ask("readMeters");
  if (executed === 1 && isDeepStrictEqual(first.data, second.data)) return;
  throw new Error(
    `${trial.name}: a retry ran the resolver ${executed} times: ${JSON.stringify([first, second])}`,
  );
}

function report() {
  const { version, fsync, synchronous_commit } = postgres.settings;
  console.log(
    `PostgreSQL ${version}, fsync ${fsync}, synchronous_commit ${synchronous_commit}; ${cpus().length} cores (${cpus()[0]?.model.trim()}) for all processes; ${connections} HTTP connections, ${poolSize} to PostgreSQL; ${rounds} rounds of ${seconds} s, medians.\n`,
  );
  console.log("| trial | calls/s (min–max) | p50 ms | p99 ms | CPU of servers | CPU of generators |");
  console.log("| --- | --: | --: | --: | --: | --: |");
  for (const { name, title } of trials) {
    const of = (measure) => spread(samples.get(name).map(measure));
    const rate = of(({ perSecond }) => perSecond);
    const cells = [
      `${Math.round(rate.median)} (${Math.round(rate.min)}–${Math.round(rate.max)})`,
      of(({ p50 }) => p50).median.toFixed(1),
      of(({ p99 }) => p99).median.toFixed(1),
      of(({ serverCpu }) => serverCpu).median.toFixed(2),
      of(({ generatorCpu }) => generatorCpu).median.toFixed(2),
    ];
    console.log(`| ${title} | ${cells.join(" | ")} |`);
  }
  console.log("\n| proportion | measured (min–max) | at least |\n| --- | --: | --: |");
  const targets = [
    ["protected", "plain", 0.85],
    ["protected-v4", "plain"],
    ["protected", "insert-first"],
    ["protected-postgres-js", "plain-postgres-js"],
    ["replay", "protected", 2],
    ["three", "protected", 1.6],
    ["protected", "dbos", 5],
  ];
  for (const [own, other, least = ""] of targets) {
    if (!samples.has(own) || !samples.has(other)) continue;
    const { median, min, max } = proportion(
      samples.get(own),
      samples.get(other),
      ({ perSecond }) => perSecond,
    );
    console.log(
      `| ${own} / ${other} | ${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)}) | ${least} |`,
    );
  }
}
