// What the directive itself costs a call, in process, without HTTP and parsing.
import { join } from "node:path";
import { startChild } from "./child.js";
import { createDatabaseFile } from "./work.js";

const kinds = ["noop", "write", "hit", "miss"];

/**
 * A first call is set against the same resolver in `database.write`, at the same number at once, so with the
 * same number of calls to a commit; a replay against a resolver that returns a constant.
 *
 * @param {{ rounds: number, calls: number, folder: string, log: (line: string) => void }} plan
 */
export async function measureOverhead({ rounds, calls, folder, log }) {
  const file = join(folder, "overhead.db");
  await createDatabaseFile(file);
  const child = await startChild("in-process.js", { file });
  const samples = Object.fromEntries(kinds.map((kind) => [kind, []]));
  const profiles = {};
  try {
    const run = (kind) => child.ask("run", { kind, calls, atOnce: 64 });
    await run("miss"); // what the replays are of
    for (let round = 0; round <= rounds; round++) {
      for (const kind of kinds) {
        const sample = await run(kind);
        if (round > 0) samples[kind].push(sample); // round 0 warms up
      }
    }
    for (const kind of ["miss", "hit"]) {
      await child.ask("startProfile");
      for (let round = 0; round < rounds; round++) await run(kind);
      profiles[kind] = await child.ask("readProfile");
    }
  } finally {
    await child.stop();
  }
  log(
    `overhead, µs a call: ${kinds.map((kind) => `${kind} ${samples[kind].map(({ microseconds }) => microseconds.toFixed(0)).join(" ")}`).join(" · ")}`,
  );
  return { samples, profiles };
}
