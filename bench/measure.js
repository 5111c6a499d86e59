// Runs trials side by side: A B C, A B C, …, so that what else the machine does falls on all of them alike.
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { startChild } from "./child.js";
import { createDatabaseFile, input, operation } from "./work.js";

/**
 * @typedef {object} Plan
 * @property {number[]} connections
 * @property {number} rounds
 * @property {number} seconds of each sample
 * @property {{ seconds: number } | { callsEach: number }} warmUp by number for each process, where several that share
 *   the cores would else be measured before they are compiled
 * @property {number} replayPool how many results are stored for replays
 * @property {string} folder for database files
 * @property {Record<string, unknown>} [settings] what servers need besides their file
 * @property {() => Promise<number | null>} [databaseCpuSeconds] what the database's own processes have used
 * @property {(trial: import("./trials.js").Trial, reason: string) => void} [leaveOut] is told of a server that does
 *   not start; without it, that ends the run
 * @property {(line: string) => void} log
 */

/** @param {import("./trials.js").Trial[]} trials @param {Plan} plan */
export async function measureSideBySide(trials, plan) {
  const generator = await startChild("load.js", { operation, input });
  const running = [];
  const results = [];
  try {
    for (const trial of trials) {
      try {
        running.push({ trial, server: await startServers(trial, plan) });
      } catch (error) {
        if (!plan.leaveOut) throw error;
        plan.leaveOut(trial, error.message);
      }
    }
    for (const { trial, server } of running) if (trial.protects) await checkReplay(trial, server);
    for (const { trial, server } of running) await warmUp(trial, server, generator, plan);
    for (const connectionCount of plan.connections) {
      const samples = new Map(running.map(({ trial }) => [trial.name, []]));
      for (let round = 1; round <= plan.rounds; round++) {
        for (const { trial, server } of running) {
          const sample = await measureOnce(trial, server, generator, connectionCount, plan);
          samples.get(trial.name).push(sample);
        }
        plan.log(`${connectionCount} connections, round ${round} of ${plan.rounds}: ${line(samples)}`);
      }
      for (const { trial, server } of running) {
        results.push({
          trial: trial.name,
          title: trial.title,
          connections: connectionCount,
          pragmas: server.pragmas,
          samples: samples.get(trial.name),
        });
      }
    }
  } finally {
    for (const { server } of running) await server.stop();
    await generator.stop();
  }
  return results;
}

function line(samples) {
  return [...samples].map(([name, list]) => `${name} ${Math.round(list.at(-1).perSecond)}`).join(" · ");
}

/** The server of a trial: one process, or several, asked and stopped together. */
async function startServers({ name, server, processes = 1 }, { folder, settings }) {
  const file = join(folder, `${name}.db`);
  await createDatabaseFile(file);
  const parameters = { server, file, processes, ...settings };
  const children = await Promise.all(
    Array.from({ length: processes }, () => startChild("server.js", parameters)),
  );
  const askAll = (question) => Promise.all(children.map((child) => child.ask(question)));
  return {
    urls: children.map(({ hello }) => hello.url),
    pragmas: children[0].hello.pragmas,
    startMeters: () => askAll("startMeters"),
    readMeters: async () => sumUp(await askAll("readMeters")),
    stop: () => Promise.all(children.map((child) => child.stop())),
  };
}

function sumUp(meters) {
  const sum = (of) => meters.reduce((total, meter) => total + of(meter), 0);
  const [worst] = [...meters].sort((a, b) => b.loopDelayMs.p99 - a.loopDelayMs.p99);
  return {
    cpuSeconds: sum(({ cpuSeconds }) => cpuSeconds),
    loopBusy: sum(({ loopBusy }) => loopBusy) / meters.length,
    loopDelayMs: worst.loopDelayMs,
    commits: sum(({ commits }) => commits),
    executed: sum(({ executed }) => executed),
  };
}

/** Lets the compilers settle, and stores what replays will ask for. */
async function warmUp(trial, { urls }, generator, { warmUp: { seconds, callsEach }, replayPool }) {
  if (trial.keys === "replay")
    check(trial, await generator.ask("fill", { urls, pool: trial.name, size: replayPool }));
  const amount = callsEach && callsEach * urls.length;
  const load = { urls, connections: 32, seconds, amount, keys: keysOf(trial) };
  check(trial, await generator.ask("send", load));
}

async function measureOnce(trial, server, generator, connections, plan) {
  const { seconds, databaseCpuSeconds = async () => null } = plan;
  await untilIdle(server);
  const databaseBefore = await databaseCpuSeconds();
  await server.startMeters();
  const load = await generator.ask("send", {
    urls: server.urls,
    connections,
    seconds,
    keys: keysOf(trial),
  });
  const meters = await server.readMeters();
  const databaseAfter = await databaseCpuSeconds();
  check(trial, load);
  checkWork(trial, load, meters, connections);
  return {
    ...load,
    ...meters,
    cpuMsPerRequest: load.requests > 0 ? (meters.cpuSeconds * 1000) / load.requests : null,
    databaseCpuMsPerRequest:
      databaseAfter !== null && load.requests > 0
        ? ((databaseAfter - databaseBefore) * 1000) / load.requests
        : null,
    callsPerCommit: meters.executed > 0 && meters.commits > 0 ? meters.executed / meters.commits : null,
  };
}

/** What was under way when the load before this one ended must not count as this one's work. */
async function untilIdle(server) {
  await server.startMeters();
  for (let before = -1, executed = 0; executed !== before; ) {
    await sleep(20);
    before = executed;
    ({ executed } = await server.readMeters());
  }
}

/**
 * Sends one request twice, the second time to another process if there is one, so that nothing is measured that
 * was set up not to protect anything.
 */
async function checkReplay({ name }, server) {
  const key = randomUUID();
  const request = {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "customer-1", "idempotency-key": key },
    body: JSON.stringify({ query: operation, variables: { input, key } }),
  };
  await server.startMeters();
  const first = await (await fetch(server.urls[0], request)).json();
  const second = await (await fetch(server.urls.at(-1), request)).json();
  const { executed } = await server.readMeters();
  if (executed === 1 && isDeepStrictEqual(first.data, second.data)) return;
  throw new Error(`${name}: a retry ran the resolver ${executed} times: ${JSON.stringify([first, second])}`);
}

function keysOf({ keys, name }) {
  return keys === "replay" ? { pool: name } : keys;
}

function check({ name }, { failures, requests }) {
  if (failures > 0) throw new Error(`${name}: ${failures} of ${requests} requests failed.`);
}

/** A trial that answers without doing its work, or does it twice, would win or lose by a fault. */
function checkWork({ name, keys }, { requests }, { executed }, connections) {
  // The requests that were under way when the time was over may have been carried out unseen.
  const [least, most] = keys === "replay" ? [0, 0] : [requests, requests + connections];
  if (executed >= least && executed <= most) return;
  throw new Error(`${name}: ${requests} answers, but the resolver ran ${executed} times.`);
}
