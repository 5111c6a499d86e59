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

let run;

/** The keys of a pool are sent once each, to be stored, and again and again in the trial of replays. */
const pools = new Map();

/**
 * Sends requests over `connections` at once, each connection waiting for its answer before it sends the next,
 * for `seconds` or for `amount` requests; no more than `perSecond` in all, if that is given.
 *
 * @param {{ url: string, connections: number, seconds?: number, amount?: number, perSecond?: number, keys: "v4" | "v7" | { pool: string } }} load
 */
async function send({ url, connections, seconds, amount, perSecond, keys }) {
  const nextKey = keysFor(keys);
  const latency = createHistogram();
  const cpu = process.cpuUsage();
  run = autocannon({
    url,
    connections,
    ...(amount ? { amount } : { duration: seconds }),
    ...(perSecond && { overallRate: perSecond }),
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
  const started = performance.now();
  let ended;
  run.on("response", (_client, _status, _bytes, ms) => {
    ended = performance.now();
    latency.record(Math.max(1, Math.round(ms * 1000)));
  });
  const result = await run;
  // Until the last answer; a server that has given none has been asked for the whole time.
  const tookSeconds = ((ended ?? performance.now()) - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const milliseconds = (microseconds) => (latency.count > 0 ? microseconds / 1000 : null);
  return {
    requests: latency.count,
    seconds: tookSeconds,
    perSecond: latency.count / tookSeconds,
    failures: result.errors + result.timeouts + result.non2xx + result.mismatches,
    latencyMs: {
      p50: milliseconds(latency.percentile(50)),
      p99: milliseconds(latency.percentile(99)),
      max: milliseconds(latency.max),
    },
    /** Near 1, the generator would be what limits the trial. */
    generatorBusy: (user + system) / 1e6 / tookSeconds,
  };
}

function keysFor(keys) {
  if (typeof keys === "string") return makeKey[keys];
  const pool = pools.get(keys.pool);
  let next = 0;
  return () => pool[next++ % pool.length];
}

/** Makes the keys of a pool, and has the server store a result for each. */
async function fill({ url, pool, size }) {
  const keys = Array.from({ length: size }, () => v7());
  pools.set(pool, keys);
  return send({ url, connections: 64, amount: size, keys: { pool } });
}

serveParent({}, { send, fill, stop: () => run.stop() });
