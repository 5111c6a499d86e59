import { join } from "node:path";
import { type OnceOptions, once } from "graphql-idempotent";
import pg from "pg";
import { v7 } from "uuid";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { connectNodePostgres, connectPostgresJs, type Process } from "./connect.ts";
import { type EmptyDatabase, openEmptyDatabase } from "./entries-database.ts";
import { type PostgresPrograms, postgresPrograms } from "./postgres-programs.ts";
import { initialise, type PostgresServer, startServer } from "./postgres-server.ts";
import { type Connect, insert, type Tx } from "./postgres-suite.ts";

const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key", waitMs: 300 };
const unavailable = { code: "IDEMPOTENCY_STORE_UNAVAILABLE" };

let programs: PostgresPrograms;
let server: PostgresServer;
let database: EmptyDatabase;

beforeAll(async () => {
  programs = await postgresPrograms();
  const dataFolder = join(programs.folder, "data");
  await initialise(programs, dataFolder);
  server = await startServer(programs, dataFolder);
});

afterAll(async () => {
  await server.kill();
  await programs[Symbol.asyncDispose]();
});

/**
 * A commit that waits for a synchronous standby has already been written. When its wait is cancelled or the
 * server restarts, it becomes visible on the primary. The standby may not have it, and a failover would lose it.
 */
describe.each<[string, Connect<Tx>]>([
  ["node-postgres", connectNodePostgres],
  ["postgres.js", connectPostgresJs],
])("while the synchronous standby is away, over %s", (driver, connect) => {
  const processes: Process<Tx>[] = [];

  beforeEach(async () => {
    await standbyIs("there");
    database = await openEmptyDatabase(server.url);
    await standbyIs("away");
  });

  afterEach(async () => {
    await standbyIs("there");
    for (const process of processes.splice(0)) await process[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  function join(deadlineMs: number) {
    const process = connect(database.url, { deadlineMs, purgeEveryMs: 0 });
    processes.push(process);
    return process.store;
  }

  const add = (store: Process<Tx>["store"], text: string, key = "key") =>
    once(store, { ...call, key }, (tx) => insert(tx, text));
  const texts = async () =>
    (await ask("SELECT text FROM entries ORDER BY id", database.url)).map(({ text }) => text);

  /** The result can be replayed, but not before the standby has it. */
  async function expectReplayWhenStandbyIsThere(key: string): Promise<void> {
    expect(await texts()).toEqual(["a"]);
    await expect(add(join(300), "b", key)).rejects.toMatchObject(unavailable);
    await standbyIs("there");
    expect(await add(join(5_000), "b", key)).toMatchObject({ result: { text: "a" }, replayed: true });
    expect(await texts()).toEqual(["a"]);
  }

  it("a call is refused at its deadline, and the retry finds out when the standby is there", async () => {
    await expect(add(join(300), "a")).rejects.toMatchObject(unavailable);
    expect(await texts()).toEqual([]); // invisible while it waits
    await expect(add(join(300), "b")).rejects.toMatchObject({ code: "IDEMPOTENCY_CONCURRENT_REQUEST" });
    await standbyIs("there");
    expect(await add(join(5_000), "b")).toMatchObject({ result: { text: "a" }, replayed: true });
  });

  it.skipIf(driver === "postgres.js")(
    "a call whose wait for it is cancelled is not acknowledged, nor is its retry",
    async () => {
      const first = add(join(5_000), "a").catch((error) => error);
      await endWait("pg_cancel_backend");
      expect(await first).toMatchObject(unavailable);
      await expectReplayWhenStandbyIsThere("key");
    },
  );

  it("a call whose connection is terminated during the wait is not acknowledged, nor is its retry", async () => {
    const first = add(join(5_000), "a").catch((error) => error);
    await endWait("pg_terminate_backend");
    expect(await first).toMatchObject(unavailable);
    await expectReplayWhenStandbyIsThere("key");
  });

  // The record of a key that was just made is looked up in the transaction only.
  it.each([
    ["any", () => "key"],
    ["a new", () => v7()],
  ])("a call with %s key is not acknowledged, nor is its retry after a restart", async (_, makeKey) => {
    const key = makeKey();
    const first = add(join(5_000), "a", key).catch((error) => error);
    while (!(await isSomeoneWaiting()));
    await server.kill();
    expect(await first).toMatchObject(unavailable);
    server = await startServer(programs, server.dataFolder, { port: server.port });
    await expectReplayWhenStandbyIsThere(key);
  });
});

async function standbyIs(place: "there" | "away"): Promise<void> {
  const names = place === "away" ? "nobody" : "";
  await ask(`ALTER SYSTEM SET synchronous_standby_names = '${names}'`);
  await ask("SELECT pg_reload_conf()");
  if (place === "away") while (!(await commitsWait()));
}

/** Whether the setting is in force: the server applies it a moment later. */
async function commitsWait(): Promise<boolean> {
  const client = await connectTo(server.url);
  let isAnswered = false;
  const commit = client.query("SELECT pg_logical_emit_message(true, '', '')").then(
    () => {
      isAnswered = true;
    },
    () => {},
  );
  while (!isAnswered && !(await isSomeoneWaiting()));
  if (!isAnswered) await endWait("pg_terminate_backend");
  await commit;
  await client.end();
  return !isAnswered;
}

async function endWait(how: "pg_cancel_backend" | "pg_terminate_backend"): Promise<void> {
  while (!(await isSomeoneWaiting()));
  await ask(`SELECT ${how}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`);
}

async function isSomeoneWaiting(): Promise<boolean> {
  return (await ask("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).length > 0;
}

/** Runs a statement on a connection of its own, without waiting for a standby. */
async function ask(text: string, url = server.url): Promise<Record<string, unknown>[]> {
  const client = await connectTo(url, "-c synchronous_commit=local");
  const { rows } = await client.query(text);
  await client.end();
  return rows;
}

async function connectTo(url: string, options = ""): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, database: "postgres", options });
  client.on("error", () => {}); // when a test ends its connection
  await client.connect();
  return client;
}
