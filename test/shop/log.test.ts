import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { newDatabase } from "./new-database.ts";

const main = fileURLToPath(new URL("../../dist/shop/main.js", import.meta.url));

async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, "listening");
  const { port } = server.address() as { port: number }; // `as`: it listens on TCP
  server.close();
  await once(server, "close");
  return port;
}

/** Every write to these fails with ENOSPC, as on a full disk. */
function onFullDisk(environment: NodeJS.ProcessEnv): ChildProcess {
  const full = openSync("/dev/full", "w");
  return spawn(process.execPath, [main], { env: environment, stdio: ["ignore", full, full] });
}

/** Every write to these fails with EPIPE, as when the program that collects the log has ended. */
function withClosedPipes(environment: NodeJS.ProcessEnv): ChildProcess {
  const child = spawn(process.execPath, [main], { env: environment, stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  child.stderr.destroy();
  return child;
}

describe("a shop whose log can't be written", () => {
  it.each([
    ["on a full disk", onFullDisk],
    ["into a closed pipe", withClosedPipes],
  ])("goes on serving: %s", async (_case, start) => {
    await using database = await newDatabase();
    const port = await freePort();
    const shop = start({
      ...process.env,
      NODE_ENV: undefined,
      DATABASE_URL: database.url,
      PORT: String(port),
    });
    const exited = once(shop, "exit");
    const statusOf = async () => (await fetch(`http://localhost:${port}/healthz`)).status;
    try {
      while (shop.exitCode === null && !(await statusOf().catch(() => undefined)));
      expect(await statusOf()).toBe(200);
      await database.query("ALTER TABLE products RENAME TO hidden");
      for (let count = 0; count < 20; count++) expect(await statusOf()).toBe(503); // each writes a line
      await database.query("ALTER TABLE hidden RENAME TO products");
      expect(await statusOf()).toBe(200);
    } finally {
      shop.kill("SIGTERM");
    }
    expect(await exited).toEqual([0, null]);
  });
});
