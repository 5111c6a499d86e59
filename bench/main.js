// npm run bench [-- --quick] [--only NAME …]
import { rmSync } from "node:fs";
import { chmod, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { drawCharts } from "./charts.js";
import { fillGrowth, measureGrowth, measureMemory, measurePurge } from "./growth.js";
import { describeMachine } from "./machine.js";
import { measureSideBySide } from "./measure.js";
import { measureOverhead } from "./overhead.js";
import {
  fillPostgresGrowth,
  growthFlags,
  measurePostgresGrowth,
  measurePostgresPurge,
} from "./postgres-growth.js";
import { createTables } from "./postgres-work.js";
import { report } from "./report.js";
import { startPostgres, startRedis } from "./services.js";
import { mainTrials, peerTrials, postgresTrials } from "./trials.js";

const efforts = {
  full: {
    main: {
      connections: [1, 16, 64, 256],
      rounds: 11,
      seconds: 0.4,
      warmUp: { callsEach: 5_000 },
      replayPool: 10_000,
    },
    peers: { connections: [1, 16, 64], rounds: 5, seconds: 0.4, warmUp: { callsEach: 1_500 }, replayPool: 0 },
    postgres: { connections: [64], rounds: 7, seconds: 0.8, warmUp: { callsEach: 1_500 }, replayPool: 2_000 },
    growth: { sizes: [1_000, 1_000_000, 10_000_000], rounds: 5, calls: 4_000 },
    purge: { expired: 1_000_000, quietSeconds: 6, limitSeconds: 30 },
    memory: { early: 10_000, late: 1_000_000 },
    postgresGrowth: {
      ...{ sizes: [1_000, 1_000_000, 10_000_000], rounds: 5, calls: 2_000 },
      ...{ expired: 1_000_000, seconds: 10, limitSeconds: 120 },
    },
    overhead: { rounds: 7, calls: 10_000 },
  },
  quick: {
    main: { connections: [1, 64], rounds: 1, seconds: 0.5, warmUp: { seconds: 0.3 }, replayPool: 1_000 },
    peers: { connections: [64], rounds: 1, seconds: 0.5, warmUp: { seconds: 0.3 }, replayPool: 0 },
    postgres: { connections: [64], rounds: 1, seconds: 0.5, warmUp: { callsEach: 200 }, replayPool: 200 },
    growth: { sizes: [1_000, 50_000], rounds: 2, calls: 1_000 },
    purge: { expired: 20_000, quietSeconds: 1, limitSeconds: 2 },
    memory: { early: 10_000, late: 20_000 },
    postgresGrowth: {
      ...{ sizes: [1_000, 100_000], rounds: 2, calls: 1_000 },
      ...{ expired: 20_000, seconds: 3, limitSeconds: 60 },
    },
    overhead: { rounds: 2, calls: 1_000 },
  },
};

const parts = ["main", "peers", "postgres", "growth", "purge", "memory", "overhead"];
/** Measured only when named: it takes as long as all others together. */
const partsOnDemand = ["postgres-growth"];
const trialNames = [...mainTrials, ...peerTrials, ...postgresTrials].map(({ name }) => name);

const usage = `Usage: npm run bench -- [options]
  --quick        a short run, to see that all works; its figures are rough
  --only NAME    a part or a trial; may be given several times
                 parts: ${parts.join(", ")}
                 parts that a run without --only leaves out: ${partsOnDemand.join(", ")}
                 trials: ${trialNames.join(", ")}
  --out FOLDER   where results go (default: bench/results for a full run, else bench/results-partial)
  --help`;

function log(line) {
  console.error(line);
}

async function main() {
  const { quick, only, out } = readOptions();
  const effort = quick ? efforts.quick : efforts.full;
  const started = performance.now();
  const folder = await mkdtemp(join(tmpdir(), "graphql-idempotent-bench-"));
  await chmod(folder, 0o755); // PostgreSQL may run as a user of its own
  // Also when a signal ends the run: the files may have grown to many gigabytes.
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
  const results = { machine: await describeMachine(folder), quick, services: {}, leftOut: [] };
  try {
    await measure(results, { effort, only, folder });
  } catch (error) {
    // Of a run that takes this long, what was measured before the fault is kept.
    console.error(error);
    process.exitCode = 1;
  }
  results.minutes = (performance.now() - started) / 60_000;

  const markdown = report(results);
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "results.json"), `${JSON.stringify(results, null, 1)}\n`);
  await writeFile(join(out, "results.md"), markdown);
  for (const [name, svg] of Object.entries(await drawCharts(results))) await writeFile(join(out, name), svg);
  console.log(markdown);
  log(`Written to ${out}, after ${results.minutes.toFixed(1)} minutes.`);
}

function readOptions() {
  const { values } = parsedArguments();
  if (values.help) {
    console.log(usage);
    process.exit();
  }
  for (const name of values.only) {
    if ([...parts, ...partsOnDemand].includes(name) || trialNames.includes(name)) continue;
    refuse(`--only must name a part or a trial, but it is "${name}".`);
  }
  const isFull = !values.quick && values.only.length === 0;
  const folder = isFull ? "results" : "results-partial";
  return { ...values, out: values.out ?? fileURLToPath(new URL(folder, import.meta.url)) };
}

function parsedArguments() {
  try {
    return parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string", multiple: true, default: [] },
        out: { type: "string" },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    return refuse(error.message);
  }
}

function refuse(message) {
  console.error(`${message}\n\n${usage}`);
  process.exit(1);
}

/** Part by part; each leaves what it found in `results`. */
async function measure(results, { effort, only, folder }) {
  const isWanted = (name) => only.length === 0 || only.includes(name);
  const wanted = (part, trials) => trials.filter(({ name }) => isWanted(part) || isWanted(name));
  const own = wanted("main", mainTrials);
  if (own.length > 0) results.main = await measureSideBySide(own, { ...effort.main, folder, log });
  const peers = wanted("peers", peerTrials);
  if (peers.length > 0) results.peers = await measurePeers(results, peers, { ...effort.peers, folder });
  const onPostgres = wanted("postgres", postgresTrials);
  if (onPostgres.length > 0)
    results.postgres = await measurePostgres(results, onPostgres, { ...effort.postgres, folder });
  if (isWanted("overhead")) results.overhead = await measureOverhead({ ...effort.overhead, folder, log });
  if (isWanted("purge")) results.purge = await measurePurge({ ...effort.purge, folder, log });
  // Neither the filling of files nor the memory of a process is measured by the clock: they share the cores.
  const [files, memory] = await Promise.all([
    isWanted("growth") && fillGrowth({ ...effort.growth, folder, log }),
    isWanted("memory") && measureMemory({ ...effort.memory, folder, log }),
  ]);
  if (files) results.growth = await measureGrowth(files, { ...effort.growth, log });
  if (memory) results.memory = memory;
  if (only.includes("postgres-growth"))
    await measurePostgresRecords(results, { ...effort.postgresGrowth, folder, log });
}

/** What a peer needs may be missing here, or a peer may not start: then it is left out, and the results say why. */
async function measurePeers(results, trials, plan) {
  const starters = { redis: startRedis, postgres: () => startPostgres(plan.folder) };
  const services = {};
  const failures = {};
  const leaveOut = (trial, reason) => {
    results.leftOut.push({ trial: trial.name, title: trial.title, reason });
    log(`${trial.title} is left out: ${reason}`);
  };
  try {
    for (const name of new Set(trials.map(({ needs }) => needs).filter(Boolean))) {
      try {
        services[name] = await starters[name]();
      } catch (error) {
        failures[name] = error.message;
      }
    }
    for (const trial of trials) if (trial.needs in failures) leaveOut(trial, failures[trial.needs]);
    for (const [name, { settings }] of Object.entries(services)) results.services[name] = settings;
    const settings = { redisUrl: services.redis?.url, postgresUrl: services.postgres?.url };
    const present = trials.filter(({ needs }) => !(needs in failures));
    return await measureSideBySide(present, { ...plan, settings, leaveOut, log });
  } finally {
    for (const service of Object.values(services)) await service.stop();
  }
}

/** All trials on one PostgreSQL, whose connections are as many for each of them. */
async function measurePostgres(results, trials, plan) {
  const postgres = await startPostgres(plan.folder);
  try {
    results.services.postgres = postgres.settings;
    await createTables(postgres.url);
    const settings = { postgresUrl: postgres.url, postgresConnections: 20 };
    const { cpuSeconds: databaseCpuSeconds } = postgres;
    return await measureSideBySide(trials, { ...plan, settings, databaseCpuSeconds, log });
  } finally {
    await postgres.stop();
  }
}

/** Many records in PostgreSQL: what calls cost, and what a purge does. */
async function measurePostgresRecords(results, plan) {
  const postgres = await startPostgres(plan.folder, { flags: growthFlags });
  try {
    results.services.postgres = { ...postgres.settings, flags: growthFlags };
    const databases = await fillPostgresGrowth(postgres, plan);
    log("filled");
    results.postgresGrowth = await measurePostgresGrowth(databases, plan);
    results.postgresPurge = await measurePostgresPurge(postgres, databases, plan);
  } finally {
    await postgres.stop();
  }
}

await main();
