import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

// A row of the table of cases in PROTOCOL.md, over HTTP: a server that dies without a word, and another on the
// same file after it.

let directory: string;
let server: CreditServer | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "graphql-idempotent-crash-"));
});
afterEach(async () => {
  await server?.kill();
  rmSync(directory, { recursive: true });
});

interface CreditServer {
  credit(key: string, hold?: boolean): Promise<{ credits: number; replayed: boolean }>;
  credits(): Promise<number>;
  /** Fulfilled when a held call has written, and not yet committed. */
  written(): Promise<unknown>;
  kill(): Promise<void>;
}

async function startServer(): Promise<CreditServer> {
  const script = fileURLToPath(new URL("../credit-server.mjs", import.meta.url));
  const child: ChildProcessByStdio<null, Readable, null> = spawn(
    process.execPath,
    [script, join(directory, "credits.db")],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const url = (await lines.next()).value as string; // `as`: the first line is the address

  async function ask(query: string) {
    const headers = { "content-type": "application/json" };
    const response = await fetch(url, { method: "POST", headers, body: JSON.stringify({ query }) });
    // biome-ignore lint/suspicious/noExplicitAny: the body is whatever the server sent
    const body = (await response.json()) as any;
    expect(body.errors).toBeUndefined();
    return body;
  }

  return {
    async credit(key, hold = false) {
      const { data, extensions } = await ask(
        `mutation { credit(owner: "alice", amount: 100, hold: ${hold}, idempotencyKey: "${key}") { credits } }`,
      );
      return { credits: data.credit.credits, replayed: extensions.idempotency[0].replayed };
    },
    credits: async () => (await ask('{ account(owner: "alice") { credits } }')).data.account.credits,
    written: () => lines.next(),
    async kill() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "exit");
    },
  };
}

describe("a crash", () => {
  it("loses no acknowledged result: the retry replays it", async () => {
    server = await startServer();
    expect(await server.credit("acknowledged")).toEqual({ credits: 100, replayed: false });
    await server.kill();
    server = await startServer();
    expect(await server.credit("acknowledged")).toEqual({ credits: 100, replayed: true });
    expect(await server.credits()).toBe(100);
  });

  it("after the mutation has written and before it commits leaves nothing, and its key is not stuck", async () => {
    server = await startServer();
    await server.credit("before");
    const crashed = expect(server.credit("crashed", true)).rejects.toThrow("fetch failed");
    await server.written();
    await server.kill();
    await crashed;
    server = await startServer();
    expect(await server.credits()).toBe(100);
    expect(await server.credit("crashed")).toEqual({ credits: 200, replayed: false });
    expect(await server.credit("crashed")).toEqual({ credits: 200, replayed: true });
    expect(await server.credits()).toBe(200);
  });
});
