import { rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { postgresPrograms } from "../../stores/postgres/postgres-programs.ts";
import {
  initialise,
  type PostgresServer,
  type ServerSettings,
  startServer,
} from "../../stores/postgres/postgres-server.ts";
import { openAddress } from "./address.ts";
import { copyForStandby } from "./base-backup.ts";

/** A primary, a standby that follows it, and an address that leads to whichever is the primary. */
export interface Cluster extends AsyncDisposable {
  /** Of a new database, at the address that moves. */
  readonly url: string;
  /** The primary's own URL of that database. */
  readonly primaryUrl: string;
  /** What the primary writes from now on does not get to the standby. */
  cutReplication(): void;
  /** Kills the primary and starts it again, as it was. */
  restartPrimary(): Promise<void>;
  /** As an administrator does who thinks that something hangs. */
  cancelWaits(): Promise<void>;
  /** The primary's machine dies, and its disk with it. The standby takes its place, and the address moves. */
  killPrimary(): Promise<void>;
  /**
   * Nothing is heard from the primary. The standby takes its place, and the address moves; but the other comes
   * back, and goes on with those that are connected to it, until it is killed.
   */
  missPrimary(whileItIsBack: () => Promise<void>): Promise<void>;
  /** Makes a new standby of the primary, and waits until it follows. */
  replaceStandby(): Promise<void>;
}

/** As it calls itself, and as synchronous_standby_names has it. */
const standbyName = "standby";
const database = "shop";

/** With `isSynchronous`, the primary answers no COMMIT before the standby has it. */
export async function startCluster(isSynchronous: boolean): Promise<Cluster> {
  const programs = await postgresPrograms();
  const settings: ServerSettings = {
    synchronous_standby_names: isSynchronous ? standbyName : "",
    synchronous_commit: "on",
    wal_keep_size: "256MB", // for a new standby, until it follows
    wal_retrieve_retry_interval: "100ms",
  };
  let servers = 0;
  const nextFolder = () => join(programs.folder, `server-${++servers}`);

  const folder = nextFolder();
  await initialise(programs, folder);
  let primary = await startServer(programs, folder, settings);
  let standby: PostgresServer | undefined;
  let isReplicating = true;
  const address = await openAddress(() => primary.port);
  /** The standby's way to the primary. */
  const link = await openAddress(() => (isReplicating ? primary.port : undefined));

  async function replaceStandby(): Promise<void> {
    const copy = nextFolder();
    isReplicating = true;
    await copyForStandby(programs, primary, copy, { primaryPort: link.port, name: standbyName });
    standby = await startServer(programs, copy, settings);
    await untilFollowed();
  }

  /** Until what is committed gets to the standby, and waits for it if it is a synchronous one. */
  async function untilFollowed(): Promise<void> {
    const state = isSynchronous ? "sync" : "async";
    const following = `SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '${state}'`;
    while ((await query(primary, following)).length === 0) await sleep(20);
  }

  function cutReplication(): void {
    isReplicating = false;
    link.cut();
  }

  async function restartPrimary(): Promise<void> {
    const { dataFolder, port } = primary;
    await primary.kill();
    primary = await startServer(programs, dataFolder, { ...settings, port });
  }

  async function cancelWaits(): Promise<void> {
    await query(primary, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
  }

  async function killPrimary(): Promise<void> {
    const dead = primary;
    await dead.kill();
    await promoteStandby();
    await rm(dead.dataFolder, { recursive: true });
  }

  async function missPrimary(whileItIsBack: () => Promise<void>): Promise<void> {
    const missed = primary;
    missed.freeze();
    await promoteStandby();
    missed.goOn();
    await whileItIsBack();
    await missed.kill();
    await rm(missed.dataFolder, { recursive: true });
  }

  async function promoteStandby(): Promise<void> {
    if (!standby) throw new Error("There is no standby to promote.");
    cutReplication();
    await query(standby, "SELECT pg_promote()");
    primary = standby;
    standby = undefined;
  }

  await replaceStandby();
  await query(primary, `CREATE DATABASE ${database}`);
  return {
    url: primary.url.replace(`:${primary.port}`, `:${address.port}/${database}`),
    get primaryUrl() {
      return `${primary.url}/${database}`;
    },
    cutReplication,
    restartPrimary,
    cancelWaits,
    killPrimary,
    missPrimary,
    replaceStandby,
    async [Symbol.asyncDispose]() {
      await Promise.all([address[Symbol.asyncDispose](), link[Symbol.asyncDispose]()]);
      await Promise.all([primary.kill(), standby?.kill()]);
      await programs[Symbol.asyncDispose]();
    },
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
