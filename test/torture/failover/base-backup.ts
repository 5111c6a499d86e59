import { execFileSync } from "node:child_process";
import { cp, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import pg from "pg";
import type { PostgresPrograms } from "../../stores/postgres/postgres-programs.ts";
import type { PostgresServer } from "../../stores/postgres/postgres-server.ts";

/** What a copy may or must do without: see "Backing Up the Data Directory" in PostgreSQL's documentation. */
const leftOut =
  /^(?:(?:pg_wal|pg_replslot|pg_dynshmem|pg_notify|pg_serial|pg_snapshots|pg_stat_tmp|pg_subtrans)\/.|postmaster\.(?:pid|opts)$|(?:standby|recovery)\.signal$|backup_label)|\/pgsql_tmp|pg_internal\.init/;

/**
 * Copies the data folder of a server while it works, and makes a standby of the copy, which gets from the
 * server at `primaryPort` what the copy lacks.
 */
export async function copyForStandby(
  programs: PostgresPrograms,
  server: PostgresServer,
  dataFolder: string,
  { primaryPort, name }: { readonly primaryPort: number; readonly name: string },
): Promise<void> {
  const connection = new pg.Client({ connectionString: `${server.url}/postgres` });
  await connection.connect();
  await connection.query("SELECT pg_backup_start('standby', fast => true)");
  await cp(server.dataFolder, dataFolder, {
    recursive: true,
    filter: (source) => !leftOut.test(relative(server.dataFolder, source)),
  });
  const { rows } = await connection.query("SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)");
  await connection.end();
  const conninfo = `host=127.0.0.1 port=${primaryPort} user=postgres password=password application_name=${name}`;
  await writeFile(join(dataFolder, "backup_label"), rows[0].labelfile);
  await writeFile(join(dataFolder, "postgresql.auto.conf"), `primary_conninfo = '${conninfo}'\n`);
  await writeFile(join(dataFolder, "standby.signal"), "");
  const { uid, gid } = programs.user;
  if (uid !== undefined) execFileSync("chown", ["--recursive", `${uid}:${gid}`, dataFolder]);
}
