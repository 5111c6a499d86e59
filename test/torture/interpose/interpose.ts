import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** What interpose.c is asked to do; see there. */
export interface Interposed {
  /** The beginning of the paths that it watches. */
  readonly watch: string;
  readonly trace?: string;
  readonly killAt?: number;
  readonly killLate?: boolean;
  readonly faults?: string;
}

let library: string | undefined;

/** Whether attacks that need the library can run: on Linux, with a C compiler. In CI they must. */
export function canInterpose(): boolean {
  try {
    library ??= compile();
    return true;
  } catch (cause) {
    if (process.env.CI === "true") {
      throw new Error("CI=true requires gcc on Linux for the attacks below SQLite.", { cause });
    }
    console.warn("The attacks below SQLite are left out: they require Linux and gcc (apt-get install gcc).");
    return false;
  }
}

/** The environment that puts the library between a process and the C library. */
export function interposed(asked: Interposed): NodeJS.ProcessEnv {
  library ??= compile();
  return {
    LD_PRELOAD: library,
    TORTURE_WATCH: asked.watch,
    ...(asked.trace && { TORTURE_TRACE: asked.trace }),
    ...(asked.killAt && { TORTURE_KILL_AT: String(asked.killAt) }),
    ...(asked.killLate && { TORTURE_KILL_LATE: "1" }),
    ...(asked.faults && { TORTURE_FAULTS: asked.faults }),
  };
}

/** Once for each version of the source. */
function compile(): string {
  if (process.platform !== "linux")
    throw new Error(`LD_PRELOAD requires Linux, and this is ${process.platform}.`);
  const source = fileURLToPath(new URL("interpose.c", import.meta.url));
  const folder = fileURLToPath(new URL("../../../node_modules/.cache/torture/", import.meta.url));
  const target = join(folder, `interpose-${hash("sha256", readFileSync(source)).slice(0, 16)}.so`);
  if (existsSync(target)) return target;
  mkdirSync(folder, { recursive: true });
  const compiled = `${target}.${process.pid}`;
  execFileSync("gcc", [
    "-O2",
    "-Wall",
    "-Werror",
    "-shared",
    "-fPIC",
    "-o",
    compiled,
    source,
    "-ldl",
    "-pthread",
  ]);
  renameSync(compiled, target); // several processes may compile at once
  return target;
}
