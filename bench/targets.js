// What the package is to reach, each held against what was measured. A run of some parts shows theirs alone.
import { kindsOfCalls } from "./growth.js";
import { proportion } from "./statistics.js";
import { peerTrials } from "./trials.js";

export function targetsOf(results) {
  return [
    ...ratioTargets(results.main, mainRatios, ""),
    ...ratioTargets(results.postgres, postgresRatios, "PostgreSQL: "),
    ...peerTarget(results),
    ...growthTargets(results),
    ...purgeTargets(results),
    ...memoryTarget(results),
  ];
}

const mainRatios = [
  { trial: "protected", against: "plain", connections: 64, least: 3 },
  { trial: "protected", against: "write", connections: 64, least: 0.9 },
  { trial: "protected", against: "plain", connections: 1, least: 0.95 },
  { trial: "replay", against: "noop", connections: 64, least: 0.9 },
];

const postgresRatios = [
  { trial: "postgres-protected", against: "postgres-plain", connections: 64, least: 0.85 },
  { trial: "postgres-replay", against: "postgres-protected", connections: 64, least: 2 },
  { trial: "postgres-three", against: "postgres-protected", connections: 64, least: 1.6 },
  { trial: "postgres-protected", against: "postgres-dbos", connections: 64, least: 5 },
];

function ratioTargets(results = [], ratios, place) {
  return ratios.flatMap(({ trial, against, connections, least }) => {
    const own = find(results, trial, connections);
    const baseline = find(results, against, connections);
    if (!own || !baseline) return [];
    const ratio = proportion(own.samples, baseline.samples, ({ perSecond }) => perSecond).median;
    if (!Number.isFinite(ratio)) return []; // a baseline that answered nothing, in a run as short as --quick
    return atLeast(
      `${place}${own.title} / ${baseline.title}, ${connections} connection${connections === 1 ? "" : "s"}`,
      ratio,
      least,
    );
  });
}

function peerTarget({ peers = [] }) {
  const own = find(peers, "express-idempotent", 64);
  const ratiosToPeers = peerTrials
    .filter(({ name, protects }) => protects && name !== "express-idempotent")
    .map(({ name }) => find(peers, name, 64))
    .filter(Boolean)
    .map(({ title, samples }) => ({
      title,
      ratio: own && proportion(own.samples, samples, ({ perSecond }) => perSecond).median,
    }))
    .sort((a, b) => a.ratio - b.ratio);
  const [fastest] = ratiosToPeers;
  if (!own || !fastest) return [];
  return atLeast(`first calls / the fastest peer (${fastest.title}), 64 connections`, fastest.ratio, 2.5);
}

function growthTargets({ growth = [] }) {
  return Object.entries(kindsOfCalls).flatMap(([kind, title]) => {
    const sizes = growth.filter((result) => result.kind === kind && result.keys === "v7");
    const [smallest, largest] = [sizes[0], sizes.at(-1)];
    if (!smallest) return [];
    const ratio = proportion(largest.samples, smallest.samples, ({ microseconds }) => microseconds).median;
    return atMost(
      `${title} with ${largest.records.toLocaleString("en")} records / with ${smallest.records.toLocaleString("en")}, UUIDv7`,
      ratio,
      1.2,
    );
  });
}

function purgeTargets({ purge = [] }) {
  return purge.flatMap(({ load, purging }) => [
    ...atMost(`event-loop delay p99 in ms, purge under ${load}`, purging.loopDelayMs.p99, 10),
    ...atMost(`failed requests, purge under ${load}`, purging.failures, 0),
  ]);
}

function memoryTarget({ memory }) {
  if (!memory) return [];
  const { before, after } = memory;
  const calls = `after ${after.calls.toLocaleString("en")} first calls / after ${before.calls.toLocaleString("en")}`;
  return [
    ...atMost(`resident memory ${calls}`, after.rss / before.rss, 1.2),
    ...atMost(`heap ${calls}`, after.heapUsed / before.heapUsed, 1.2),
  ];
}

function find(results, trial, connections) {
  return results.find((result) => result.trial === trial && result.connections === connections);
}

function atLeast(what, value, least) {
  return [{ what, target: `≥ ${least}`, measured: value.toFixed(2), reached: value >= least }];
}

function atMost(what, value, most) {
  return [{ what, target: `≤ ${most}`, measured: value.toFixed(2), reached: value <= most }];
}
