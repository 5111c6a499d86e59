import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Finding } from "../checks.ts";
import { interposed } from "../interpose/interpose.ts";
import { seeded } from "../random.ts";
import { examine, pastOf } from "./examine.ts";
import { historyOf } from "./history.ts";
import { memoryFolder, runWorkload } from "./run-workload.ts";

export interface CrashPointsReport {
  readonly crashes: number;
  /** Runs that came to their end before the point was reached. */
  readonly survived: number;
  readonly findings: readonly Finding[];
}

/**
 * Kills a process at a chosen one of SQLite's changes and locks: while it migrates, before a transaction's
 * first lock and after its last, in the middle of a write, between the commit and the acknowledgement, while
 * it purges, checkpoints or closes. A kill keeps what has been written, so the file is examined as it is.
 */
export async function crashPoints(options: {
  readonly crashes: number;
  readonly seed: number;
  readonly onCrash?: () => void;
}): Promise<CrashPointsReport> {
  const folder = mkdtempSync(join(memoryFolder(), "torture-crash-points-"));
  const run = join(folder, "run");
  const random = seeded(options.seed);
  const findings: Finding[] = [];
  let survived = 0;
  try {
    for (let crash = 0; crash < options.crashes; crash++) {
      rmSync(run, { recursive: true, force: true });
      mkdirSync(run);
      const runSeed = options.seed + crash;
      const killAt = random.between(1, 1_000);
      try {
        const env = interposed({ watch: run, killAt, killLate: random.percent(50) });
        await runWorkload(run, runSeed, "FULL", env);
        survived++;
      } catch (error) {
        if ((error as { signal?: string }).signal !== "SIGKILL") throw error; // `as`: what execFile rejects with
      }
      const acknowledgements = join(run, "acknowledgements");
      const told = existsSync(acknowledgements) ? readFileSync(acknowledgements) : Buffer.alloc(0);
      const found = await examine(join(run, "bank.db"), pastOf(told, historyOf(runSeed).rounds));
      const where = `seed ${runSeed}, killed at change ${killAt}: `;
      findings.push(...found.map(({ check, detail }) => ({ check, detail: where + detail })));
      options.onCrash?.();
    }
    return { crashes: options.crashes - survived, survived, findings };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
