import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
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
  const random = seeded(options.seed);
  const waiting = Array.from({ length: options.crashes }, (_, index) => ({
    seed: options.seed + index,
    killAt: random.between(1, 1_000),
    killLate: random.percent(50),
  }));
  const findings: Finding[] = [];
  let survived = 0;
  async function meetPoints(): Promise<void> {
    const folder = mkdtempSync(join(memoryFolder(), "torture-crash-points-"));
    try {
      for (let point = waiting.pop(); point; point = waiting.pop()) {
        if (!(await crash(folder, point))) survived++;
        findings.push(...(await findingsAfter(folder, point)));
        options.onCrash?.();
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  // To start a process takes longer than the rest, so each CPU has one to start.
  await Promise.all(Array.from({ length: availableParallelism() }, meetPoints));
  return { crashes: options.crashes - survived, survived, findings };
}

interface CrashPoint {
  /** Of the run's history. */
  readonly seed: number;
  readonly killAt: number;
  readonly killLate: boolean;
}

/** False when the run came to its end before the point was reached. */
async function crash(folder: string, { seed, killAt, killLate }: CrashPoint): Promise<boolean> {
  rmSync(folder, { recursive: true });
  mkdirSync(folder);
  try {
    await runWorkload(folder, seed, "FULL", interposed({ watch: folder, killAt, killLate }));
    return false;
  } catch (error) {
    if ((error as { signal?: string }).signal === "SIGKILL") return true; // `as`: what execFile rejects with
    throw error;
  }
}

async function findingsAfter(folder: string, { seed, killAt }: CrashPoint): Promise<Finding[]> {
  const acknowledgements = join(folder, "acknowledgements");
  const told = existsSync(acknowledgements) ? readFileSync(acknowledgements) : Buffer.alloc(0);
  const found = await examine(join(folder, "bank.db"), pastOf(told, historyOf(seed).rounds));
  const where = `seed ${seed}, killed at change ${killAt}: `;
  return found.map(({ check, detail }) => ({ check, detail: where + detail }));
}
