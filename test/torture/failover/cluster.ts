import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { postgresPrograms } from "../../postgres/postgres-programs.ts";
import {
  initialise,
  type PostgresServer,
  type ServerSettings,
  startServer,
} from "../../postgres/postgres-server.ts";
import { copyForStandby } from "./base-backup.ts";
import { openMovingAddress } from "./moving-address.ts";

/** A primary, a standby that follows it, and an address that leads to whichever is the primary. */
export interface Cluster extends AsyncDisposable {
  /** The address that moves, without a database. */
  readonly url: string;
  readonly primary: PostgresServer;
  /** What the primary writes from now on does not get to the standby. */
  cutReplication(): void;
  /** The primary's machine dies, and its disk with it. */
  killPrimary(): Promise<void>;
  /** Makes the standby the primary, whatever has become of the one before, and moves the address. */
  promote(): Promise<void>;
  /** Makes a new standby of the primary, and waits until it follows. */
  replaceStandby(): Promise<void>;
}

export interface ClusterOptions {
  /** Whether the primary acknowledges no commit that the standby doesn't have. */
  readonly isSynchronous: boolean;
}

/** As it calls itself, and as synchronous_standby_names has it. */
const standbyName = "standby";

export async function startCluster({ isSynchronous }: ClusterOptions): Promise<Cluster> {
  const programs = await postgresPrograms();
  const settings: ServerSettings = {
    synchronous_standby_names: isSynchronous ? standbyName : "",
    synchronous_commit: "on",
    wal_keep_size: "256MB", // until a new standby has asked for it
    wal_retrieve_retry_interval: "100ms",
  };
  let servers = 0;
  const nextFolder = () => join(programs.folder, `server-${++servers}`);

  const folder = nextFolder();
  await initialise(programs, folder);
  let primary = await startServer(programs, folder, settings);
  const address = await openMovingAddress(primary.port);
  /** The standby's way to the primary. */
  const link = await openMovingAddress(primary.port);
  let standby: PostgresServer | undefined;

  async function replaceStandby(): Promise<void> {
    const copy = nextFolder();
    link.moveTo(primary.port);
    await copyForStandby(programs, primary, copy, { primaryPort: link.port, name: standbyName });
    standby = await startServer(programs, copy, settings);
    await untilFollowed();
  }

  /** Until the standby gets what is committed from now on; a synchronous one: until commits wait for it. */
  async function untilFollowed(): Promise<void> {
    const states = isSynchronous ? "'sync'" : "'async'";
    const following = `SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = ${states}`;
    while ((await query(primary, following)).length === 0) await sleep(20);
  }

  async function killPrimary(): Promise<void> {
    await primary.kill();
    await rm(primary.dataFolder, { recursive: true });
  }

  async function promote(): Promise<void> {
    if (!standby) throw new Error("There is no standby to promote.");
    link.moveTo(undefined);
    await query(standby, "SELECT pg_promote()");
    primary = standby;
    standby = undefined;
    address.moveTo(primary.port);
  }

  async function end(): Promise<void> {
    await address[Symbol.asyncDispose]();
    await link[Symbol.asyncDispose]();
    await Promise.all([standby?.kill(), primary.kill()]);
    await programs[Symbol.asyncDispose]();
  }

  await replaceStandby();
  const url = new URL(primary.url);
  url.port = String(address.port);
  return {
    url: url.href,
    get primary() {
      return primary;
    },
    cutReplication: () => link.moveTo(undefined),
    killPrimary,
    promote,
    replaceStandby,
    [Symbol.asyncDispose]: end,
  };
}

async function query(server: PostgresServer, text: string): Promise<unknown[]> {
  const connection = new pg.Client({ connectionString: `${server.url}/postgres` });
  await connection.connect();
  try {
    return (await connection.query(text)).rows;
  } finally {
    await connection.end();
  }
}
