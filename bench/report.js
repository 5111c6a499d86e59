// The results as Markdown: the tables of the README.
import { range, table } from "./markdown.js";
import { growth, postgresGrowth, postgresPurge } from "./report-growth.js";
import { median, proportion, spread } from "./statistics.js";
import { targetsOf } from "./targets.js";
import { mainTrials, peerTrials, postgresTrials } from "./trials.js";

export function report(results) {
  return [
    machineLines(results),
    ...targets(results),
    ...sideBySide("Apollo Server standalone", mainTrials, results.main),
    ...sideBySide("Peers, Apollo Server on Express 5", peerTrials, results.peers),
    ...sideBySide("PostgreSQL, Apollo Server standalone", postgresTrials, results.postgres),
    ...leftOut(results),
    ...growth(results.growth),
    ...purge(results.purge),
    ...postgresGrowth(results.postgresGrowth),
    ...postgresPurge(results.postgresPurge),
    ...memory(results.memory),
    ...overhead(results.overhead),
    ...pragmas(results),
  ]
    .join("\n\n")
    .concat("\n");
}

function machineLines({ machine, services, quick, minutes }) {
  const { cpu, cores, memoryGiB, system, fileSystem, fsyncMs, node, sqlite, packages, date } = machine;
  const running = Object.entries(services ?? {}).map(
    ([name, settings]) =>
      `${name} (${Object.entries(settings)
        .map(([key, value]) => `${key} ${JSON.stringify(value)}`)
        .join(", ")})`,
  );
  return [
    `${date}, ${cores} cores of ${cpu}, ${memoryGiB} GiB, ${system}, ${fileSystem}, a commit waits ${fsyncMs.toFixed(2)} ms for the disk; Node ${node}, SQLite ${sqlite}${running.length > 0 ? `; ${running.join("; ")}` : ""}. ${minutes.toFixed(0)} minutes${quick ? ", a quick run: figures are rough" : ""}.`,
    Object.entries(packages)
      .map(([name, version]) => `${name} ${version}`)
      .join(", "),
    "Medians of interleaved rounds, with minimum and maximum; a ratio is the median of the rounds' own ratios.",
  ].join("\n\n");
}

function targets(results) {
  const rows = targetsOf(results);
  if (rows.length === 0) return [];
  return [
    "## What was to be reached",
    table(
      ["what", "target", "measured", ""],
      rows.map(({ what, target, measured, reached }) => [
        what,
        target,
        measured,
        reached ? "reached" : "not reached",
      ]),
    ),
  ];
}

function sideBySide(title, trials, results) {
  if (!results) return [];
  const counts = [...new Set(results.map(({ connections }) => connections))];
  const isOnDatabase = hasDatabaseCpu(results);
  return [
    `## ${title}`,
    ...counts.flatMap((connections) => [
      `${connections} connection${connections === 1 ? "" : "s"}`,
      connectionTable(
        trials,
        results.filter((result) => result.connections === connections),
      ),
    ]),
    `CPU is the server's, of all its processes${isOnDatabase ? "; PostgreSQL's is that of all of its own" : ""}. The loop's delay includes the 1 ms of its measure.`,
  ];
}

function connectionTable(trials, results) {
  const byName = new Map(results.map((result) => [result.trial, result]));
  const baselines = [...new Set(trials.flatMap(({ against }) => against))].filter((name) => byName.has(name));
  const isOnDatabase = hasDatabaseCpu(results);
  const head = [
    "",
    "requests/s",
    ...baselines.map((name) => `× ${name}`),
    "p50 ms",
    "p99 ms",
    "CPU ms/request",
    ...(isOnDatabase ? ["PostgreSQL's CPU"] : []),
    "loop delay p99 ms",
    "calls/commit",
    "load's CPU",
  ];
  const rows = trials
    .filter(({ name }) => byName.has(name))
    .map(({ name, title, against }) => {
      const { samples } = byName.get(name);
      const cell = (measure, digits) => middle(samples.map(measure), digits);
      return [
        title,
        range(spread(samples.map(perSecond)), 0),
        ...baselines.map((baseline) =>
          against.includes(baseline)
            ? range(proportion(samples, byName.get(baseline).samples, perSecond), 2)
            : "",
        ),
        cell(({ latencyMs }) => latencyMs.p50, 1),
        cell(({ latencyMs }) => latencyMs.p99, 1),
        cell(({ cpuMsPerRequest }) => cpuMsPerRequest, 2),
        ...(isOnDatabase ? [cell(({ databaseCpuMsPerRequest }) => databaseCpuMsPerRequest, 2)] : []),
        cell(({ loopDelayMs }) => loopDelayMs.p99, 1),
        cell(({ callsPerCommit }) => callsPerCommit, 1),
        `${cell(({ generatorBusy }) => 100 * generatorBusy, 0)} %`,
      ];
    });
  return table(head, rows);
}

function hasDatabaseCpu(results) {
  return results.some(({ samples }) => samples.some((sample) => sample.databaseCpuMsPerRequest !== null));
}

function perSecond(sample) {
  return sample.perSecond;
}

function leftOut({ leftOut: trials }) {
  return trials.map(({ title, reason }) => `${title} was left out: ${reason}`);
}

function purge(results) {
  if (!results) return [];
  return [
    "## Purge under load",
    table(
      [
        "load",
        "",
        "seconds",
        "deleted",
        "requests/s",
        "failed",
        "p99 ms",
        "loop delay p50 ms",
        "p99 ms",
        "max ms",
      ],
      results.flatMap(({ load, purged, quiet, purging }) => [
        [load, "nothing to delete", ...purgeCells(quiet, 0)],
        [load, "while purging", ...purgeCells(purging, purged)],
      ]),
    ),
  ];
}

function purgeCells({ seconds, perSecond: rate, failures, latencyMs, loopDelayMs }, purged) {
  return [
    seconds.toFixed(1),
    purged.toLocaleString("en"),
    rate.toFixed(0),
    failures,
    latencyMs.p99.toFixed(1),
    loopDelayMs.p50.toFixed(1),
    loopDelayMs.p99.toFixed(1),
    loopDelayMs.max.toFixed(1),
  ];
}

function memory(marks) {
  if (!marks) return [];
  return [
    "## Memory",
    table(
      ["first calls", "resident MiB", "heap MiB", "external MiB"],
      [marks.before, marks.after].map(({ calls, rss, heapUsed, external }) => [
        calls.toLocaleString("en"),
        ...[rss, heapUsed, external].map((bytes) => (bytes / 2 ** 20).toFixed(1)),
      ]),
    ),
  ];
}

function overhead(results) {
  if (!results) return [];
  const { samples, profiles } = results;
  const titles = {
    noop: "resolver that returns a constant",
    hit: "@idempotent, replay",
    write: "resolver in database.write",
    miss: "@idempotent, first call",
  };
  const baselines = { hit: "noop", miss: "write" };
  const rows = Object.entries(titles).map(([kind, title]) => {
    const own = samples[kind];
    const baseline = samples[baselines[kind]];
    const extra =
      baseline && own.map(({ microseconds }, round) => microseconds - baseline[round].microseconds);
    return [
      title,
      range(spread(own.map(({ microseconds }) => microseconds)), 1),
      median(own.map(({ cpuMicroseconds }) => cpuMicroseconds)).toFixed(1),
      extra ? range(spread(extra), 1) : "",
    ];
  });
  return [
    "## The directive's own cost",
    "In process, without HTTP and parsing, 64 calls at once.",
    table(["", "µs a call", "CPU µs", "µs more than without it"], rows),
    ...["miss", "hit"].flatMap((kind) =>
      profileTables(
        titles[kind],
        profiles[kind],
        median(samples[kind].map(({ microseconds }) => microseconds)),
      ),
    ),
  ];
}

function profileTables(title, { groups, functions }, microseconds) {
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const time = (share) => (share * microseconds).toFixed(1);
  return [
    `Where the time of one call goes — ${title}`,
    table(
      ["", "share", "µs"],
      groups.map(({ name, share }) => [name, percent(share), time(share)]),
    ),
    table(
      ["function", "place", "share", "µs"],
      functions
        .slice(0, 15)
        .map(({ name, place, share }) => [`\`${name}\``, place, percent(share), time(share)]),
    ),
  ];
}

function pragmas({ main = [], peers = [] }) {
  const seen = new Map();
  for (const { title, pragmas: connections } of [...main, ...peers]) {
    for (const [connection, values] of Object.entries(connections)) {
      seen.set(`${title} ${connection}`, [title, connection, ...Object.values(values)]);
    }
  }
  if (seen.size === 0) return [];
  return [
    "## Read back from each connection to SQLite",
    table(
      ["trial", "connection", "journal_mode", "synchronous", "page_size", "cache_size", "wal_autocheckpoint"],
      [...seen.values()],
    ),
  ];
}

/** Empty where a trial had nothing to measure: no commit, or no answer in time. */
function middle(values, digits) {
  const measured = values.filter((value) => value !== null);
  return measured.length > 0 ? median(measured).toFixed(digits) : "";
}
