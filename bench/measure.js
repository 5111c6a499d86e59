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
 * @property {number} warmUpSeconds
 * @property {number} replayPool how many results are stored for replays
 * @property {string} folder for database files
 * @property {Record<string, unknown>} [settings] what servers need besides their file
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
        running.push({ trial, server: await startServer(trial, plan) });
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
          const sample = await measureOnce(trial, server, generator, connectionCount, plan.seconds);
          samples.get(trial.name).push(sample);
        }
        plan.log(`${connectionCount} connections, round ${round} of ${plan.rounds}: ${line(samples)}`);
      }
      for (const { trial, server } of running) {
        results.push({
          trial: trial.name,
          title: trial.title,
          connections: connectionCount,
          pragmas: server.hello.pragmas,
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

async function startServer({ name, server }, { folder, settings }) {
  const file = join(folder, `${name}.db`);
  await createDatabaseFile(file);
  return startChild("server.js", { server, file, ...settings });
}

/** Lets the compilers settle, and stores what replays will ask for. */
async function warmUp(trial, server, generator, { warmUpSeconds, replayPool }) {
  const { url } = server.hello;
  if (trial.keys === "replay")
    check(trial, await generator.ask("fill", { url, pool: trial.name, size: replayPool }));
  check(
    trial,
    await generator.ask("send", { url, connections: 32, seconds: warmUpSeconds, keys: keysOf(trial) }),
  );
}

async function measureOnce(trial, server, generator, connections, seconds) {
  const { url } = server.hello;
  await untilIdle(server);
  await server.ask("startMeters");
  const load = await generator.ask("send", { url, connections, seconds, keys: keysOf(trial) });
  const meters = await server.ask("readMeters");
  check(trial, load);
  checkWork(trial, load, meters, connections);
  return {
    ...load,
    ...meters,
    cpuMsPerRequest: load.requests > 0 ? (meters.cpuSeconds * 1000) / load.requests : null,
    callsPerCommit: meters.executed > 0 && meters.commits > 0 ? meters.executed / meters.commits : null,
  };
}

/** What was under way when the load before this one ended must not count as this one's work. */
async function untilIdle(server) {
  await server.ask("startMeters");
  for (let before = -1, executed = 0; executed !== before; ) {
    await sleep(20);
    before = executed;
    ({ executed } = await server.ask("readMeters"));
  }
}

/** Sends one request twice, so that no peer is measured that was set up not to protect anything. */
async function checkReplay({ name }, server) {
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
