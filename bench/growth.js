// What many records do to the cost of a call, to a purge, and to the memory of the process.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { startChild } from "./child.js";
import { createDatabaseFile, input, operation } from "./work.js";

/** The customers whose records lie mixed in the table, as in a shop that is used. */
const customers = 10_000;

const kindsOfKeys = ["v7", "v4"];

/** What is measured, by what tables call it. A retry mostly comes soon; that of any call is the worst case. */
export const kindsOfCalls = {
  miss: "first call",
  recent: "replay of one of the last 10,000",
  hit: "replay of any call",
};

/**
 * Makes a file for each kind of keys and each number of records.
 *
 * @param {{ sizes: number[], folder: string, log: (line: string) => void }} plan
 */
export async function fillGrowth({ sizes, folder, log }) {
  const files = await Promise.all(kindsOfKeys.map((keys) => fillFiles({ keys, sizes, folder, log })));
  return Object.fromEntries(kindsOfKeys.map((keys, index) => [keys, files[index]]));
}

/**
 * First calls and replays, in process, on files that hold different numbers of records. The files of one kind
 * of keys are measured side by side, in turn, so that sizes compare, whatever the machine does.
 *
 * @param {Awaited<ReturnType<typeof fillGrowth>>} files
 * @param {{ rounds: number, calls: number, log: (line: string) => void }} plan
 */
export async function measureGrowth(files, { rounds, calls, log }) {
  const results = [];
  for (const keys of kindsOfKeys) {
    results.push(...(await measureFiles({ keys, files: files[keys], rounds, calls, log })));
  }
  return results;
}

async function fillFiles({ keys, sizes, folder, log }) {
  const files = [];
  for (const records of sizes) {
    const file = join(folder, `growth-${keys}-${records}.db`);
    const { seconds, bytesPerRecord } = await fillFile(file, { count: records, keys, customers });
    log(
      `growth: ${records} records with UUID${keys} keys, ${bytesPerRecord.toFixed(0)} bytes each, ${seconds.toFixed(0)} s to fill`,
    );
    files.push({ records, file, bytesPerRecord });
  }
  return files;
}

async function measureFiles({ keys, files, rounds, calls, log }) {
  const running = [];
  const samples = [];
  try {
    for (const file of files)
      running.push({ ...file, child: await startChild("in-process.js", { file: file.file }) });
    for (let round = 0; round <= rounds; round++) {
      for (const kind of Object.keys(kindsOfCalls)) {
        for (const { records, bytesPerRecord, child } of running) {
          const last = await child.ask("lastRowid");
          const sample = await child.ask("run", { kind, calls, atOnce: 64, keys, customers });
          if (kind === "miss") await child.ask("forgetAfter", last);
          if (round > 0) samples.push({ keys, kind, records, bytesPerRecord, ...sample }); // round 0 warms up
        }
      }
    }
  } finally {
    for (const { child, file } of running) {
      await child.stop();
      await rm(file, { force: true });
    }
  }
  const results = [];
  for (const kind of Object.keys(kindsOfCalls)) {
    for (const { records, bytesPerRecord } of files) {
      const own = samples.filter((sample) => sample.kind === kind && sample.records === records);
      results.push({ keys, kind, records, bytesPerRecord, customers, samples: own });
    }
    log(
      `growth: ${kind} with UUID${keys} keys, µs a call: ${results
        .filter((result) => result.kind === kind)
        .map(
          ({ records, samples }) =>
            `${records}: ${samples.map(({ microseconds }) => microseconds.toFixed(0)).join(" ")}`,
        )
        .join(" · ")}`,
    );
  }
  return results;
}

/**
 * Lets a server delete expired records under two loads: one that leaves it room, and one that doesn't. Each is
 * measured without a purge as well, to tell the purge's part from the load's.
 *
 * @param {{ expired: number, quietSeconds: number, limitSeconds: number, folder: string, log: (line: string) => void }} plan
 */
export async function measurePurge({ expired, quietSeconds, limitSeconds, folder, log }) {
  const loads = [
    { name: "200 requests/s", connections: 16, perSecond: 200 },
    { name: "64 connections at once", connections: 64 },
  ];
  const generator = await startChild("load.js", { operation, input });
  const results = [];
  try {
    for (const load of loads) {
      const file = join(folder, "purge.db");
      await fillFile(file, { count: expired, keys: "v7", customers, expired: true });
      const server = await startChild("server.js", {
        server: "idempotent",
        file,
        store: { purgeEveryMs: 0 },
      });
      try {
        const { url } = server.hello;
        const send = (seconds) => generator.ask("send", { urls: [url], ...load, keys: "v7", seconds });
        await send(quietSeconds / 2);
        const quiet = await measureWhile(server, () => send(quietSeconds));
        const purging = await measureWhile(server, () =>
          sendUntilPurged(server, generator, send(limitSeconds)),
        );
        const purged = expired - (await server.ask("countExpired"));
        results.push({ load: load.name, expired, purged, quiet, purging });
        log(
          `purge under ${load.name}: ${purged} of ${expired} in ${purging.seconds.toFixed(1)} s, loop delay p99 ${purging.loopDelayMs.p99.toFixed(1)} ms, without a purge ${quiet.loopDelayMs.p99.toFixed(1)} ms, ${purging.failures} failures`,
        );
      } finally {
        await server.stop();
        await rm(file, { force: true });
      }
    }
  } finally {
    await generator.stop();
  }
  return results;
}

async function measureWhile(server, work) {
  await server.ask("startMeters");
  const sent = await work();
  return { ...sent, ...(await server.ask("readMeters")) };
}

async function sendUntilPurged(server, generator, sending) {
  await Promise.race([server.ask("purge"), sending]);
  await generator.ask("stop");
  return sending;
}

async function fillFile(file, settings) {
  const filler = await startChild("fill.js", { file });
  try {
    return await filler.ask("fill", settings);
  } finally {
    await filler.stop();
  }
}

/** First calls until there have been a million, and what the process holds on to at two marks. */
export async function measureMemory({ early, late, folder, log }) {
  const file = join(folder, "memory.db");
  await createDatabaseFile(file);
  const child = await startChild("in-process.js", { file }, { execArgv: ["--expose-gc"] });
  try {
    const run = (calls) => child.ask("run", { kind: "miss", calls, atOnce: 64, customers });
    const step = 10_000;
    const marks = [];
    for (let calls = step; calls <= late; calls += step) {
      await run(step);
      if (calls === early || calls === late) marks.push({ calls, ...(await child.ask("readMemory")) });
    }
    const [before, after] = marks;
    log(
      `memory: ${marks.map(({ calls, rss, heapUsed }) => `after ${calls} calls ${(rss / 2 ** 20).toFixed(0)} MiB, heap ${(heapUsed / 2 ** 20).toFixed(1)} MiB`).join("; ")}`,
    );
    return { before, after };
  } finally {
    await child.stop();
    await rm(file, { force: true });
  }
}
