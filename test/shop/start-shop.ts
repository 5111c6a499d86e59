import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { type NewDatabase, newDatabase, type Row } from "./new-database.ts";

/** An answer as the wire has it. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: the body is whatever the server sent
  readonly body: any;
}

export interface StartedShop extends AsyncDisposable {
  /** http://localhost:<port>/graphql, as the shop printed it. */
  readonly url: string;
  readonly database: NewDatabase;
  /** All that it has written so far, to stdout and to stderr. */
  readonly output: () => string;
  /** Sends an operation, or what the body is to be, as Alice unless the headers say otherwise. */
  ask(operation: string | object, headers?: Record<string, string>): Promise<Answer>;
  /** Reads, or writes, the shop's database past it. */
  query(sql: string): Promise<Row[]>;
  /** Sends a signal, and is fulfilled with the exit code; null when the signal itself was the end. */
  stop(signal?: NodeJS.Signals): Promise<number | null>;
}

export interface Exit {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Environment = Record<string, string | undefined>;

export const asBob = { authorization: "Bearer bob-token" };

const main = fileURLToPath(new URL("../../dist/shop/main.js", import.meta.url));

/** The shop as a process of its own, on a new database or on a given one, on a free port. */
export async function startShop(
  options: { database?: NewDatabase; environment?: Environment } = {},
): Promise<StartedShop> {
  const database = options.database ?? (await newDatabase());
  const shop = spawnShop({ DATABASE_URL: database.url, ...options.environment });
  const exit = once(shop.process, "exit");
  const url = await addressOf(shop);

  async function ask(operation: string | object, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer alice-token", ...headers },
      body: JSON.stringify(typeof operation === "string" ? { query: operation } : operation),
    });
    return { status: response.status, headers: response.headers, body: await response.json() };
  }

  async function stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    shop.process.kill(signal);
    const [code] = await exit;
    return code;
  }

  async function dispose(): Promise<void> {
    await stop();
    if (!options.database) await database[Symbol.asyncDispose]();
  }

  const { query } = database;
  return { url, database, output: shop.output, ask, query, stop, [Symbol.asyncDispose]: dispose };
}

/** Runs a shop that is expected to end by itself. */
export async function runShop(environment: Environment, directory?: string): Promise<Exit> {
  const shop = spawnShop(environment, directory);
  const [code] = await once(shop.process, "close");
  return { code, stdout: shop.stdout(), stderr: shop.stderr() };
}

/** The shop as a process, which may or may not open. */
export function spawnShop(environment: Environment, directory = tmpdir()) {
  if (!existsSync(main)) throw new Error(`${main} is missing: run \`npm run build\` first.`);
  const child = spawn(process.execPath, [main], {
    cwd: directory,
    env: { ...process.env, NODE_ENV: undefined, DATABASE_URL: undefined, PORT: "0", ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
  });
  return {
    process: child as ChildProcess,
    stdout: () => stdout,
    stderr: () => stderr,
    output: () => stdout + stderr,
  };
}

async function addressOf({ process: child, output }: ReturnType<typeof spawnShop>): Promise<string> {
  for (;;) {
    const url = /The shop is open: (\S+)\n/.exec(output())?.[1];
    if (url) return url;
    const ended = await Promise.race([
      once(child.stdout as NodeJS.ReadableStream, "data").then(() => false), // `as`: it is a pipe
      once(child, "exit").then(() => true),
    ]);
    if (ended) throw new Error(`The shop did not open: ${output()}`);
  }
}
