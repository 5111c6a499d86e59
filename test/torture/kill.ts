import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer, Finding } from "./checks.ts";
import { canInterpose, interposed } from "./interpose/interpose.ts";
import { type Random, seeded } from "./random.ts";
import { examineShop } from "./shop/books.ts";
import { type Call, randomCall, retryUntilAnswered } from "./shop/client.ts";
import { EndedEarly, type ShopProcess, startShopProcess } from "./shop/shop-process.ts";

export interface KillOptions {
  readonly kills: number;
  readonly seed: number;
  /** Requests in flight. @default 32 */
  readonly clients?: number;
  readonly onKill?: () => void;
}

export interface KillReport {
  readonly kills: number;
  /** Those of them that came at a chosen change or lock of SQLite's; the others came at any time. */
  readonly chosen: number;
  readonly keys: number;
  readonly answers: number;
  readonly findings: readonly Finding[];
}

/** Kills the shop under load, again and again, while each client retries its key until it is answered. */
export async function killUnderLoad({ kills, seed, clients = 32, onKill }: KillOptions): Promise<KillReport> {
  const folder = mkdtempSync(join(tmpdir(), "torture-kill-"));
  const databaseFile = join(folder, "shop.db");
  const random = seeded(seed);
  const chosenAllowed = canInterpose();
  let chosen = 0;
  let port = 0;
  let load: Load | undefined;
  try {
    for (let kill = 0; kill < kills; kill++) {
      const isChosen = chosenAllowed && random.percent(50);
      const env = isChosen ? chosenMoment(folder, kill, random) : {};
      const shop = await startOrDie({ databaseFile, port, env });
      if (shop) {
        port = shop.port;
        load ??= startLoad(clients, `http://localhost:${port}/graphql`, random);
        await Promise.race([shop.ended, sleep(isChosen ? 2_000 : random.between(20, 500))]);
        if (shop.signal("SIGKILL")) await shop.ended;
        else chosen++;
      } else chosen++;
      onKill?.();
    }
    const last = await startShopProcess({ databaseFile, port });
    load ??= startLoad(clients, last.url, random);
    const { sent, answers } = await load.finish();
    last.signal("SIGTERM");
    await last.ended;
    const findings = examineShop(databaseFile, sent, answers);
    return { kills, chosen, keys: sent.length, answers: answers.length, findings };
  } finally {
    load?.finish();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * SQLite's n-th change or lock since the process began: the first starts make the file and its tables, later
 * ones come under load.
 */
function chosenMoment(folder: string, kill: number, random: Random): NodeJS.ProcessEnv {
  const killAt = kill < 5 ? random.between(1, 120) : random.between(40, 1_500);
  return interposed({ watch: folder, killAt, killLate: random.percent(50) });
}

/** Undefined when the chosen moment came before the server was open. */
async function startOrDie(options: Parameters<typeof startShopProcess>[0]): Promise<ShopProcess | undefined> {
  try {
    return await startShopProcess(options);
  } catch (error) {
    if (error instanceof EndedEarly && error.ended.signal === "SIGKILL") return undefined;
    throw error;
  }
}

interface Load {
  /** Sends nothing new, and is fulfilled when every key has been answered or given up. */
  finish(): Promise<{ sent: string[]; answers: Answer[] }>;
}

/** So many clients at once, each of which sends one call after the other until it is answered. */
export function startLoad(clients: number, url: string, random: Random): Load {
  const sent: string[] = [];
  const answered: Call[] = [];
  const answers: Answer[] = [];
  let isOver = false;

  async function callAndRetry(): Promise<void> {
    while (!isOver) {
      // Some clients ask again for what they have been told already, long after.
      const call = answered.length > 0 && random.percent(20) ? random.pick(answered) : next();
      const answer = await retryUntilAnswered(call, { url: () => url });
      if (!answer) continue;
      answers.push(answer);
      answered.push(call);
    }
  }

  function next(): Call {
    const call = randomCall(sent.length + 1, random);
    sent.push(call.key);
    return call;
  }

  const all = Promise.all(Array.from({ length: clients }, callAndRetry));
  return {
    async finish() {
      isOver = true;
      await all;
      return { sent, answers };
    },
  };
}
