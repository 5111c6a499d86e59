// The long run: npm run torture -- --kills 500 --images 10000 --seed 1 --only power-loss,kill
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SingleBar } from "cli-progress";
import { postgresPrograms } from "../stores/postgres/postgres-programs.ts";
import { initialise, startServer } from "../stores/postgres/postgres-server.ts";
import type { Finding } from "./checks.ts";
import { failOverUnderLoad } from "./failover/failover.ts";
import { canInterpose } from "./interpose/interpose.ts";
import { killUnderLoad } from "./kill.ts";
import { compareWithModel } from "./model.ts";
import { missing, type Peer, peers, peerTarget, startRedis } from "./peers/peers.ts";
import { killMachines } from "./postgres/machines.ts";
import { crashPoints } from "./power-loss/crash-points.ts";
import { powerLoss } from "./power-loss/power-loss.ts";
import { sameKeysEverywhere } from "./processes.ts";

interface Attack {
  /** How many ticks its progress has. */
  readonly size: number;
  /** Findings are expected of peers, and counted; of ours, they fail the run. */
  readonly isComparison?: boolean;
  readonly missing?: string | undefined;
  run(tick: () => void): Promise<Outcome>;
}

/** Findings, and whatever figures an attack has beside them. */
interface Outcome {
  readonly findings: readonly Finding[];
}

type Size = "seed" | "images" | "crashes" | "kills" | "failovers" | "keys" | "histories";

const usage = `npm run torture -- [options]
  --seed N       of all chance; the same seed is the same attack (default: now)
  --images N     power cuts to examine (default 10000)
  --crashes N    kills at chosen changes and locks of SQLite's (default 300)
  --kills N      kills of the shop under load, on one machine and of several (default 500)
  --failovers N  a standby takes the place of the PostgreSQL that the shop is on (default 25)
  --keys N       keys sent to four servers at once (default 2000)
  --histories N  random histories to compare with the model (default 2000)
  --only NAMES   only these, with commas: power-loss, crash-points, kill, machines, failover, processes, model,
                 and to compare with: failover-asynchronous, plain, express-idempotency, node-idempotency`;

const options = {
  seed: { type: "string", default: String(Date.now() % 2 ** 31) },
  images: { type: "string", default: "10000" },
  crashes: { type: "string", default: "300" },
  kills: { type: "string", default: "500" },
  failovers: { type: "string", default: "25" },
  keys: { type: "string", default: "2000" },
  histories: { type: "string", default: "2000" },
  only: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

// A run that is broken off takes its servers along.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

const attacks = chosenAttacks();
let failures = 0;
for (const [name, attack] of attacks) if (!(await attackWith(name, attack))) failures++;
if (failures > 0) process.exitCode = 1;

/** None, and one line that says why, when the options are not to be understood. */
function chosenAttacks(): [string, Attack][] {
  try {
    const { values } = parseArgs({ options });
    if (values.help) {
      console.log(usage);
      return [];
    }
    const all = allAttacks(values);
    console.log(`Seed ${values.seed}, Node ${process.version}`);
    return (values.only?.split(",") ?? [...all.keys()]).map((name) => {
      const attack = all.get(name);
      if (attack) return [name, attack];
      throw new Error(`--only knows ${[...all.keys()].join(", ")}, but was given "${name}".`);
    });
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
    return [];
  }
}

function allAttacks(values: Readonly<Record<Size, string>>): Map<string, Attack> {
  const count = (name: Size): number => {
    const given = Number(values[name]);
    if (Number.isSafeInteger(given) && given >= 0) return given;
    throw new Error(`--${name} must be a whole number, but it is "${values[name]}".`);
  };
  const seed = count("seed");
  const keys = count("keys");
  const noLibrary = canInterpose() ? undefined : "it requires Linux and gcc";
  const images = count("images");
  const crashes = count("crashes");
  const kills = count("kills");
  const failovers = count("failovers");
  const noMachine = process.platform === "linux" ? undefined : "it requires Linux";
  const histories = count("histories");
  const attacks: [string, Attack][] = [
    [
      "power-loss",
      { size: images, missing: noLibrary, run: (onImage) => powerLoss({ images, seed, onImage }) },
    ],
    [
      "crash-points",
      { size: crashes, missing: noLibrary, run: (onCrash) => crashPoints({ crashes, seed, onCrash }) },
    ],
    ["kill", { size: kills, run: (onKill) => killUnderLoad({ kills, seed, onKill }) }],
    ["machines", { size: kills, run: (onKill) => onPostgres(kills, seed, onKill) }],
    [
      "failover",
      {
        size: failovers,
        missing: noMachine,
        run: (onFailover) => failOverUnderLoad({ failovers, seed, onFailover }),
      },
    ],
    [
      "failover-asynchronous",
      {
        size: failovers,
        isComparison: true,
        missing: noMachine,
        run: (onFailover) => failOverUnderLoad({ failovers, seed, isSynchronous: false, onFailover }),
      },
    ],
    ["processes", { size: 1, run: () => inTemporaryFile(seed, keys) }],
    ["model", { size: histories, run: (onHistory) => lastHistories({ histories, seed, onHistory }) }],
  ];
  for (const peer of peers) {
    attacks.push([
      peer,
      {
        size: kills,
        isComparison: true,
        missing: missing(peer),
        run: (onKill) => killPeer(peer, kills, seed, onKill),
      },
    ]);
  }
  return new Map(attacks);
}

async function inTemporaryFile(seed: number, keys: number) {
  const folder = mkdtempSync(join(tmpdir(), "torture-processes-"));
  try {
    return {
      keys,
      ...(await sameKeysEverywhere({ databaseFile: join(folder, "shop.db"), servers: 4, keys, seed })),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function onPostgres(kills: number, seed: number, onKill: () => void) {
  await using programs = await postgresPrograms();
  const dataFolder = join(programs.folder, "data");
  await initialise(programs, dataFolder);
  const server = await startServer(programs, dataFolder);
  try {
    return await killMachines({ databaseUrl: `${server.url}/postgres`, kills, seed, onKill });
  } finally {
    await server.stop();
  }
}

async function lastHistories(options: Parameters<typeof compareWithModel>[0]) {
  try {
    await compareWithModel(options);
    return { histories: options.histories, findings: [] };
  } catch (error) {
    return { histories: options.histories, findings: [{ check: "model", detail: String(error) }] };
  }
}

async function killPeer(peer: Peer, kills: number, seed: number, onKill: () => void): Promise<Outcome> {
  const redis = peer === "plain" ? undefined : await startRedis();
  try {
    return await killUnderLoad({ kills, seed, target: peerTarget(peer, redis?.url ?? ""), onKill });
  } finally {
    redis?.stop();
  }
}

/** False when it found something that must not be. */
async function attackWith(name: string, attack: Attack): Promise<boolean> {
  if (attack.missing) {
    console.log(`${name}: left out, since ${attack.missing}`);
    return true;
  }
  const format = `${name} {bar} {value}/{total}, {duration_formatted} of about {eta_formatted} more`;
  const bar = new SingleBar({ format, noTTYOutput: true, notTTYSchedule: 60_000 });
  bar.start(attack.size, 0);
  const began = performance.now();
  const { findings, ...figures } = await attack.run(() => bar.increment());
  bar.update(attack.size);
  bar.stop();
  const seconds = Math.round((performance.now() - began) / 1_000);
  console.log(`${name}: ${JSON.stringify({ ...figures, findings: countByCheck(findings), seconds })}`);
  if (attack.isComparison) return true;
  for (const { check, detail } of findings.slice(0, 20)) console.log(`  ${check}: ${detail}`);
  return findings.length === 0;
}

function countByCheck(findings: readonly Finding[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { check } of findings) counts[check] = (counts[check] ?? 0) + 1;
  return counts;
}
