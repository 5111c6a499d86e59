import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer, Finding } from "./checks.ts";
import { interposed } from "./interpose/interpose.ts";
import { seeded } from "./random.ts";
import { examineShop } from "./shop/books.ts";
import { randomCall, retryUntilAnswered } from "./shop/client.ts";
import { type ShopProcess, startShopProcess } from "./shop/shop-process.ts";

/** Each key is sent to all servers at once, as by a client that has lost patience with the first. */
export async function sameKeysEverywhere(options: {
  readonly databaseFile: string;
  readonly servers: number;
  readonly keys: number;
  readonly seed: number;
}): Promise<{ answers: number; findings: readonly Finding[] }> {
  const { databaseFile, servers, keys, seed } = options;
  const shops = await startShops(databaseFile, servers);
  const random = seeded(seed);
  const calls = Array.from({ length: keys }, (_, index) => randomCall(index + 1, random));
  const answers: Answer[] = [];
  const waiting = [...calls];
  async function sendEverywhere(): Promise<void> {
    for (let call = waiting.pop(); call; call = waiting.pop()) {
      const sent = call;
      const all = await Promise.all(shops.map(({ url }) => retryUntilAnswered(sent, { url: () => url })));
      for (const answer of all) if (answer) answers.push(answer);
    }
  }
  await Promise.all(Array.from({ length: 16 }, sendEverywhere));
  await endAll(shops);
  return {
    answers: answers.length,
    findings: examineShop(
      databaseFile,
      calls.map(({ key }) => key),
      answers,
    ),
  };
}

async function startShops(databaseFile: string, count: number): Promise<ShopProcess[]> {
  return Promise.all(Array.from({ length: count }, () => startShopProcess({ databaseFile })));
}

export async function endAll(shops: readonly ShopProcess[]): Promise<void> {
  for (const shop of shops) shop.signal("SIGTERM");
  await Promise.all(shops.map(({ ended }) => ended));
}

/** A shop that can be made to stop, with SIGSTOP, while it holds the lock of the database. */
export interface StoppableShop extends ShopProcess {
  /** From now on it stops in the middle of its next commit. */
  stopInCommit(): void;
  readonly hasStopped: () => Promise<void>;
  /** It goes on where it stopped. */
  goOn(): void;
}

export async function startStoppableShop(databaseFile: string): Promise<StoppableShop> {
  const faults = `${databaseFile}.faults`;
  const shop = await startShopProcess({ databaseFile, env: interposed({ watch: databaseFile, faults }) });
  return {
    ...shop,
    stopInCommit: () => writeFileSync(faults, "W 0"),
    async hasStopped() {
      // proc(5): the state stands behind the name in parentheses
      while (!/^\d+ \(.*\) T/.test(readFileSync(`/proc/${shop.pid}/stat`, "utf8"))) await sleep(10);
    },
    goOn() {
      rmSync(faults);
      shop.signal("SIGCONT");
    },
  };
}
