import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { chown, mkdir, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import type { PostgresPrograms } from "./postgres-programs.ts";

/** Settings of postgresql.conf. */
export type ServerSettings = Readonly<Partial<Record<string, string | number>>>;

/** A PostgreSQL server with all its processes. */
export interface PostgresServer {
  readonly port: number;
  /** Without a database. */
  readonly url: string;
  readonly dataFolder: string;
  log(): string;
  /** Ends the server and its open sessions. */
  stop(): Promise<void>;
  /** Kills all its processes at the same moment, as a crash of the machine does. Linux only. */
  kill(): Promise<void>;
  /** Stops all its processes at the same moment, until `goOn` is called. Linux only. */
  freeze(): void;
  goOn(): void;
}

const password = "password";

/** Creates the data folder of a new server. */
export async function initialise(programs: PostgresPrograms, dataFolder: string): Promise<void> {
  const { uid, gid } = programs.user;
  await mkdir(dataFolder, { mode: 0o700 });
  if (uid !== undefined && gid !== undefined) await chown(dataFolder, uid, gid);
  const passwordFile = `${dataFolder}.password`;
  await writeFile(passwordFile, password);
  const options = ["--username=postgres", "--auth=password", `--pwfile=${passwordFile}`];
  const flags = [...options, "--encoding=UTF8", "--no-locale", "--no-sync", `--pgdata=${dataFolder}`];
  const child = spawn(programs.initdb, flags, programs.user);
  const log = logOf(child);
  const [code] = await once(child, "close");
  await rm(passwordFile);
  if (code !== 0) throw new Error(`initdb ended with exit code ${code}:\n${log()}`);
}

/** Starts a server on a data folder, on a free port unless `port` is set, and waits until it accepts connections. */
export async function startServer(
  programs: PostgresPrograms,
  dataFolder: string,
  settings: ServerSettings = {},
): Promise<PostgresServer> {
  const port = Number(settings.port ?? (await freePort()));
  const all = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    fsync: "off", // no test here cuts the power
    ...settings,
  };
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const child = spawn(programs.postgres, ["-D", dataFolder, ...flags], {
    ...programs.user,
    env: { ...process.env, LC_MESSAGES: "C" },
  });
  const log = logOf(child);
  const ended = once(child, "close").then(() => servers.delete(child));
  servers.add(child);
  await new Promise<void>((resolve, reject) => {
    child.stderr.on("data", () => {
      if (/ready to accept (?:read-only )?connections/.test(log())) resolve();
    });
    ended.then(() => reject(new Error(`PostgreSQL ended before it was ready:\n${log()}`)), reject);
  });

  /** The postmaster is stopped first, so that it can't start more processes. */
  function signalAll(name: NodeJS.Signals): void {
    if (!servers.has(child)) return;
    const pid = child.pid as number; // `as`: it has been started
    child.kill("SIGSTOP");
    const backends = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean);
    for (const each of backends) process.kill(Number(each), name);
    child.kill(name);
  }

  return {
    port,
    url: `postgresql://postgres:${password}@127.0.0.1:${port}`,
    dataFolder,
    log,
    async stop() {
      child.kill("SIGINT");
      await ended;
    },
    async kill() {
      signalAll("SIGKILL");
      await ended;
    },
    freeze: () => signalAll("SIGSTOP"),
    goOn: () => signalAll("SIGCONT"),
  };
}

function logOf(child: ChildProcess): () => string {
  let log = "";
  const read = (chunk: Buffer): void => {
    log += chunk;
  };
  child.stdout?.on("data", read);
  child.stderr?.on("data", read);
  return () => log;
}

const servers = new Set<ChildProcess>();

// A failed run leaves no server behind. At SIGQUIT, the postmaster ends its other processes too.
process.once("exit", () => {
  for (const child of servers) child.kill("SIGQUIT");
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address() as { readonly port: number }; // `as`: a TCP server's address
  server.close();
  await once(server, "close");
  return address.port;
}
