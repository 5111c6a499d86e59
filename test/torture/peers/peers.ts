import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import Sqlite from "better-sqlite3";
import {
  type Answer,
  differingReplays,
  duplicates,
  type Finding,
  lostAcknowledgements,
  stuckKeys,
} from "../checks.ts";
import type { Target } from "../kill.ts";
import { order } from "../shop/client.ts";
import { startServer } from "../shop/shop-process.ts";

/** What the shop is compared with: a resolver without any protection, and two peers of this package. */
export const peers = ["plain", "express-idempotency", "node-idempotency"] as const;
export type Peer = (typeof peers)[number];

const server = fileURLToPath(new URL("server.js", import.meta.url));
const benchModules = fileURLToPath(new URL("../../../bench/node_modules", import.meta.url));

/** Why a peer can't run here, if so. */
export function missing(peer: Peer): string | undefined {
  if (peer === "plain") return undefined;
  if (!existsSync(benchModules)) return "the peers are not installed: npm ci --prefix bench";
  const { error } = spawnSync("redis-server", ["--version"]);
  return error
    ? "it keeps its keys in Redis, which is not installed: apt-get install redis-server"
    : undefined;
}

export function peerTarget(name: Peer, redisUrl: string): Target {
  return {
    start: ({ databaseFile }) => startServer([process.execPath, server, name, databaseFile, redisUrl], {}),
    call: (number, random) => order(`order-${number}`, random.between(1, 9)),
    examine: examineOrders,
    // A peer can keep a key locked for hours after a crash, so clients give up soon.
    client: { sendsHeader: true, patienceMs: 2_000 },
    hasChosenMoments: false,
  };
}

function examineOrders(file: string, sent: readonly string[], answers: readonly Answer[]): Finding[] {
  const connection = new Sqlite(file, { readonly: true });
  // `as`: the query says so
  const orders = connection.prepare("SELECT note AS key FROM orders").all() as { key: string }[];
  connection.close();
  return [
    ...duplicates(orders),
    ...lostAcknowledgements(answers, orders),
    ...differingReplays(answers),
    ...stuckKeys(sent, answers),
  ];
}

/** A Redis for the peers that keep their keys in one. It is never killed, so they lose nothing by it. */
export async function startRedis(): Promise<{ url: string; stop(): void }> {
  const port = await freePort();
  const redis = spawn("redis-server", ["--port", String(port), "--save", "", "--appendonly", "no"]);
  let log = "";
  redis.stdout.on("data", (chunk) => {
    log += chunk;
  });
  while (!log.includes("Ready to accept connections")) await once(redis.stdout, "data");
  process.once("exit", () => redis.kill());
  return { url: `redis://127.0.0.1:${port}`, stop: () => void redis.kill() };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address ? address.port : 0));
    });
  });
}
