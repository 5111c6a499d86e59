import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Finding } from "../checks.ts";
import { interposed } from "../interpose/interpose.ts";
import { type Change, parseTrace } from "../interpose/trace.ts";
import { type Random, seeded } from "../random.ts";
import { ForgetfulDisk } from "./disk.ts";
import { examine, pastOf } from "./examine.ts";
import { historyOf } from "./history.ts";
import { memoryFolder, runWorkload } from "./run-workload.ts";

export interface PowerLossOptions {
  /** How many power cuts to examine. */
  readonly images: number;
  /** How many of them one recorded run gives. @default 500 */
  readonly imagesPerRun?: number;
  readonly seed: number;
  readonly synchronous?: "FULL" | "NORMAL" | "OFF";
  readonly onImage?: () => void;
}

export interface PowerLossReport {
  readonly runs: number;
  readonly images: number;
  /** Changes of files that were recorded, and how many of them were syncs. */
  readonly changes: number;
  readonly syncs: number;
  /** Answers that had been given by the time of a cut, over all cuts. */
  readonly acknowledgements: number;
  readonly findings: readonly Finding[];
}

/** Records runs of a real process, cuts the power at moments of them, and examines what is left. */
export async function powerLoss({
  images,
  imagesPerRun = 500,
  seed,
  synchronous = "FULL",
  onImage,
}: PowerLossOptions): Promise<PowerLossReport> {
  const folder = mkdtempSync(join(memoryFolder(), "torture-power-loss-"));
  const report = { runs: 0, images: 0, changes: 0, syncs: 0, acknowledgements: 0, findings: [] as Finding[] };
  try {
    for (; report.images < images; report.runs++) {
      const runSeed = seed + report.runs;
      const changes = await recordRun(folder, runSeed, synchronous);
      report.changes += changes.length;
      report.syncs += changes.filter(({ kind }) => kind === "sync").length;
      const random = seeded(runSeed);
      const disk = new ForgetfulDisk(join(folder, "run"));
      let applied = 0;
      for (const moment of momentsOf(changes, Math.min(imagesPerRun, images - report.images), random)) {
        for (; applied < moment; applied++) disk.apply(changes[applied] as Change); // `as`: moments are within
        const past = pastOf(disk.contents("acknowledgements"), historyOf(runSeed).rounds);
        const findings = await examineImage(folder, disk.image(random), random, past);
        const where = `seed ${runSeed}, cut after change ${moment}: `;
        report.findings.push(...findings.map(({ check, detail }) => ({ check, detail: where + detail })));
        report.acknowledgements += past.answers.length;
        report.images++;
        onImage?.();
      }
    }
    return report;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function recordRun(folder: string, seed: number, synchronous: string): Promise<Change[]> {
  const run = join(folder, "run");
  const trace = join(folder, "trace");
  rmSync(run, { recursive: true, force: true });
  rmSync(trace, { force: true });
  mkdirSync(run);
  await runWorkload(run, seed, synchronous, interposed({ watch: run, trace }));
  return parseTrace(readFileSync(trace));
}

/** Moments of the whole run, most of them at random, a third beside a sync or an acknowledgement. */
function momentsOf(changes: readonly Change[], count: number, random: Random): number[] {
  const turns = changes.flatMap(({ kind }, index) => (kind === "sync" ? [index, index + 1] : []));
  return Array.from({ length: count }, () =>
    random.percent(33) ? random.pick(turns) : random.between(0, changes.length),
  ).sort((one, other) => one - other);
}

async function examineImage(
  folder: string,
  image: ReadonlyMap<string, Buffer>,
  random: Random,
  past: Parameters<typeof examine>[1],
): Promise<Finding[]> {
  const restarted = join(folder, "restarted");
  rmSync(restarted, { recursive: true, force: true });
  mkdirSync(restarted);
  for (const [name, contents] of image) {
    if (name !== "acknowledgements") writeFileSync(join(restarted, name), contents);
  }
  // The index of the log is never synced: after a cut it may be gone or hold anything.
  if (random.percent(30)) {
    writeFileSync(join(restarted, "bank.db-shm"), Buffer.alloc(32_768, random.between(0, 255)));
  }
  try {
    return await examine(join(restarted, "bank.db"), past);
  } catch (error) {
    return [{ check: "unusable", detail: error instanceof Error ? error.message : String(error) }];
  }
}
