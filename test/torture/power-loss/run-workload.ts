import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const loader = createRequire(import.meta.url).resolve("tsx");
const workload = fileURLToPath(new URL("workload.ts", import.meta.url));

/** Runs workload.ts in a process of its own, to its end. */
export async function runWorkload(
  directory: string,
  seed: number,
  synchronous: string,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  await promisify(execFile)(
    process.execPath,
    ["--import", loader, workload, directory, String(seed), synchronous],
    // The environment of a test runner would change how the child loads its modules.
    { env: { PATH: process.env.PATH, ...env } },
  );
}

/** In memory where that is possible: what a disk would have done is worked out, not left to the disk below. */
export function memoryFolder(): string {
  return existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
}
