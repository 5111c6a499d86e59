// The load generator, in a process of its own: autocannon, each request with a key that was made before.
import { createHistogram } from "node:perf_hooks";
import autocannon from "autocannon";
import { v4, v7 } from "uuid";
import { parameters, serveParent } from "./child.js";

const { operation, input } = parameters();
const makeKey = { v4, v7 };
// Requests differ in their key alone, so all else is turned into text once.
const mark = "THE-KEY";
const [before, after] = JSON.stringify({ query: operation, variables: { input, key: mark } }).split(mark);

let runs = [];

/** The keys of a pool are sent once each, to be stored, and again and again in the trial of replays. */
const pools = new Map();

/**
 * Sends requests over `connections` at once, each connection waiting for its answer before it sends the next,
 * for `seconds` or for `amount` requests; no more than `perSecond` in all, if that is given. Several servers
 * get an equal part each.
 *
 * @param {{ urls: string[], connections: number, seconds?: number, amount?: number, perSecond?: number, keys: "v4" | "v7" | { pool: string } }} load
 */
async function send({ urls, connections, seconds, amount, perSecond, keys }) {
  const nextKey = keysFor(keys);
  const latency = createHistogram();
  const partOf = (whole) => Math.ceil(whole / urls.length);
  const cpu = process.cpuUsage();
  const started = performance.now();
  let ended;
  runs = urls.map((url) => {
    const load = {
      url,
      connections: partOf(connections),
      ...(amount ? { amount: partOf(amount) } : { duration: seconds }),
      ...(perSecond && { overallRate: partOf(perSecond) }),
    };
    return sendTo(load, nextKey, (ms) => {
      ended = performance.now();
      latency.record(Math.max(1, Math.round(ms * 1000)));
    });
  });
  const results = await Promise.all(runs);
  // Until the last answer; a server that has given none has been asked for the whole time.
  const tookSeconds = ((ended ?? performance.now()) - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const milliseconds = (microseconds) => (latency.count > 0 ? microseconds / 1000 : null);
  return {
    requests: latency.count,
    seconds: tookSeconds,
    perSecond: latency.count / tookSeconds,
    failures: results.reduce(
      (sum, { errors, timeouts, non2xx, mismatches }) => sum + errors + timeouts + non2xx + mismatches,
      0,
    ),
    latencyMs: {
      p50: milliseconds(latency.percentile(50)),
      p99: milliseconds(latency.percentile(99)),
      max: milliseconds(latency.max),
    },
    /** Near 1, the generator would be what limits the trial. */
    generatorBusy: (user + system) / 1e6 / tookSeconds,
  };
}

function sendTo(load, nextKey, onAnswer) {
  const run = autocannon({
    ...load,
    sampleInt: 50, // it looks only so often whether the time is over: a second, if not told
    timeout: 30,
    method: "POST",
    headers: { "content-type": "application/json", authorization: "customer-1" },
    requests: [
      {
        setupRequest: (request) => {
          const key = nextKey();
          request.headers["idempotency-key"] = key;
          request.body = before + key + after;
          return request;
        },
      },
    ],
    verifyBody: (body) => body.startsWith('{"data":{"createOrder":{"id":'),
  });
  run.on("response", (_client, _status, _bytes, ms) => onAnswer(ms));
  return run;
}

function keysFor(keys) {
  if (typeof keys === "string") return makeKey[keys];
  const pool = pools.get(keys.pool);
  let next = 0;
  return () => pool[next++ % pool.length];
}

/** Makes the keys of a pool, and has the server store a result for each. */
async function fill({ urls, pool, size }) {
  const keys = Array.from({ length: size }, () => v7());
  pools.set(pool, keys);
  return send({ urls, connections: 64, amount: size, keys: { pool } });
}

function stop() {
  for (const run of runs) run.stop();
}

serveParent({}, { send, fill, stop });
