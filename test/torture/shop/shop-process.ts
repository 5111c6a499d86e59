import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

/** A real server of the shop, in a process of its own. */
export interface ShopProcess {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** What it has written to its standard output and standard error. */
  log(): string;
  /** False when it has ended already. */
  signal(name: NodeJS.Signals): boolean;
  /** Fulfilled when it has ended. */
  readonly ended: Promise<Ended>;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ShopProcessOptions extends StartOptions {
  readonly databaseFile: string;
}

interface StartOptions {
  /** @default 0, any free one */
  readonly port?: number;
  /** More of the environment, such as that of interpose.c. */
  readonly env?: NodeJS.ProcessEnv;
  /** Makes SIGUSR2 bring on the end of what it waits for: see hasten-on-signal.js. @default false */
  readonly canBeHastened?: boolean;
}

const main = fileURLToPath(new URL("../../../dist/shop/main.js", import.meta.url));
const hastenOnSignal = new URL("hasten-on-signal.js", import.meta.url).href;

/** Starts a shop on an SQLite file. The promise is rejected with its log when it ends before it is open. */
export function startShopProcess({ databaseFile, ...options }: ShopProcessOptions): Promise<ShopProcess> {
  return startShopOn(`file:${databaseFile}`, options);
}

/** The same on any database, by its DATABASE_URL. */
export async function startShopOn(databaseUrl: string, options: StartOptions = {}): Promise<ShopProcess> {
  const preloaded = options.canBeHastened ? ["--import", hastenOnSignal] : [];
  return startServer([process.execPath, ...preloaded, main], {
    PORT: String(options.port ?? 0),
    DATABASE_URL: databaseUrl,
    ...options.env,
  });
}

/** Any server that says where it is, as the shop does: "… open: http://localhost:4000/graphql". */
export async function startServer(
  [command, ...parameters]: readonly [string, ...string[]],
  env: NodeJS.ProcessEnv,
): Promise<ShopProcess> {
  // The environment of a test runner would change how the child loads its modules.
  const child = spawn(command, parameters, { env: { PATH: process.env.PATH, ...env } });
  let log = "";
  // Not "exit", which can come before the last of its output.
  const ended = once(child, "close").then(([code, signal]): Ended => {
    processes.delete(child);
    return { code, signal };
  });
  processes.add(child);
  const url = await new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer): void => {
      log += chunk;
      const found = /open: (http:\S+)/.exec(log)?.[1];
      if (found) resolve(found);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    ended.then(({ code, signal }) => reject(new EndedEarly({ code, signal }, log)), reject);
  });
  return {
    url,
    port: Number(new URL(url).port),
    pid: child.pid as number, // `as`: it has been started
    log: () => log,
    signal: (name) => child.kill(name),
    ended,
  };
}

export class EndedEarly extends Error {
  readonly ended: Ended;

  constructor(ended: Ended, log: string) {
    super(`The server ended before it was open, with ${ended.signal ?? `exit code ${ended.code}`}: ${log}`);
    this.ended = ended;
  }
}

const processes = new Set<ChildProcess>();

/** A run or a test that fails must not leave its servers behind. */
export function killLeftovers(): void {
  for (const child of processes) child.kill("SIGKILL");
}

process.once("exit", killLeftovers);
