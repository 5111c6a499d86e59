// Where a process spends its time: V8's sampling profiler between two marks, summed up by function.
import { Session } from "node:inspector/promises";
import { fileURLToPath } from "node:url";

const session = new Session();

export async function startProfile() {
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: 200 });
  await session.post("Profiler.start");
}

export async function readProfile() {
  const { profile } = await session.post("Profiler.stop");
  session.disconnect();
  return summarise(profile);
}

/** Waiting, the tree's root, and the profiler's own start. */
const notWork = new Set(["(idle)", "(root)", "dispatch"]);

/** @returns {{ groups: { name: string, share: number }[], functions: { name: string, place: string, group: string, share: number }[] }} */
function summarise({ nodes, samples, timeDeltas }) {
  const selfTime = new Map();
  for (const [index, id] of samples.entries()) {
    selfTime.set(id, (selfTime.get(id) ?? 0) + timeDeltas[index]);
  }
  const byFunction = new Map();
  let busy = 0;
  for (const { id, callFrame } of nodes) {
    const time = selfTime.get(id) ?? 0;
    const name = callFrame.functionName || "(anonymous)";
    if (time === 0 || notWork.has(name)) continue;
    busy += time;
    const place = placeOf(callFrame);
    const entry = byFunction.get(`${name} ${place}`) ?? {
      name,
      place,
      group: groupOf(name, callFrame.url),
      time: 0,
    };
    entry.time += time;
    byFunction.set(`${name} ${place}`, entry);
  }
  const functions = [...byFunction.values()]
    .map(({ time, ...rest }) => ({ ...rest, share: time / busy }))
    .sort((a, b) => b.share - a.share);
  const groups = new Map();
  for (const { group, share } of functions) groups.set(group, (groups.get(group) ?? 0) + share);
  return {
    groups: [...groups].map(([name, share]) => ({ name, share })).sort((a, b) => b.share - a.share),
    functions: functions.slice(0, 30),
  };
}

const root = fileURLToPath(new URL("..", import.meta.url));

function placeOf({ url, lineNumber }) {
  if (!url) return "native";
  const path = url.startsWith("file:") ? fileURLToPath(url) : url;
  return `${path.replace(root, "").replace(/^.*node_modules\//, "")}:${lineNumber + 1}`;
}

/** The first pattern that fits a file's address names the group. */
const groupsByUrl = [
  [/node_modules\/(@apollo|@as-integrations)\//, "Apollo Server"],
  [/node_modules\/(graphql|@graphql-tools)\//, "graphql-js"],
  [/node_modules\/drizzle-orm\//, "Drizzle"],
  [/node_modules\/better-sqlite3\//, "better-sqlite3 (JavaScript)"],
  [/node_modules\/(express|router|body-parser|finalhandler|cors|raw-body|iconv-lite|send)\//, "Express"],
  [/^node:/, "Node (HTTP, streams, timers)"],
  [/node_modules\//, "other packages"],
  [/\/dist\//, "graphql-idempotent"],
  [/\/bench\//, "the resolver (bench)"],
];

function groupOf(name, url) {
  if (name === "(garbage collector)") return "garbage collector";
  if (name === "(program)") return "outside of JavaScript";
  if (url) return groupsByUrl.find(([pattern]) => pattern.test(url))?.[1] ?? "other";
  // better-sqlite3's own methods have no address; nothing else here is native under these names.
  return ["run", "get", "all", "prepare", "exec"].includes(name) ? "SQLite" : "V8 and Node natives";
}
