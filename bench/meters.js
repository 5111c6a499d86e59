// What the server's own process measures between two marks.
import { monitorEventLoopDelay } from "node:perf_hooks";
import Sqlite from "better-sqlite3";
import { executed } from "./servers/resolvers.js";

let commits = 0;

/**
 * Counts the commits of every connection of this process that are made through prepared statements, as both
 * Drizzle's transactions and the package's writer make them.
 */
export function countCommits() {
  const prepare = Sqlite.prototype.prepare;
  Sqlite.prototype.prepare = function prepareCounted(sql) {
    const statement = prepare.call(this, sql);
    if (/^commit\b/i.test(sql)) {
      const run = statement.run;
      statement.run = function runCounted(...parameters) {
        commits++;
        return run.apply(statement, parameters);
      };
    }
    return statement;
  };
}

// The histogram's values include its resolution: an idle loop shows about 1 ms.
const loopDelay = monitorEventLoopDelay({ resolution: 1 });
let mark;

export function startMeters() {
  loopDelay.reset();
  loopDelay.enable();
  mark = {
    cpu: process.cpuUsage(),
    loop: performance.eventLoopUtilization(),
    commits,
    executed: executed.count,
  };
}

export function readMeters() {
  const { user, system } = process.cpuUsage(mark.cpu);
  loopDelay.disable();
  return {
    cpuSeconds: (user + system) / 1e6,
    loopBusy: performance.eventLoopUtilization(mark.loop).utilization,
    loopDelayMs: {
      p50: loopDelay.percentile(50) / 1e6,
      p99: loopDelay.percentile(99) / 1e6,
      max: loopDelay.max / 1e6,
    },
    commits: commits - mark.commits,
    executed: executed.count - mark.executed,
  };
}

export function readMemory() {
  global.gc?.();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heapUsed, external };
}

/** SQLite's own answers, from each connection that the trial has open. */
export function readPragmas(connections) {
  const level = ["OFF", "NORMAL", "FULL", "EXTRA"];
  return Object.fromEntries(
    Object.entries(connections).map(([name, connection]) => [
      name,
      {
        journalMode: connection.pragma("journal_mode", { simple: true }),
        synchronous: level[connection.pragma("synchronous", { simple: true })],
        pageSize: connection.pragma("page_size", { simple: true }),
        cacheSize: connection.pragma("cache_size", { simple: true }),
        walAutocheckpoint: connection.pragma("wal_autocheckpoint", { simple: true }),
      },
    ]),
  );
}
