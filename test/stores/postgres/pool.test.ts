import { drizzle } from "drizzle-orm/node-postgres";
import { type OnceOptions, once } from "graphql-idempotent";
import { postgresStore } from "graphql-idempotent/postgres";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type CuttingProxy, openCuttingProxy } from "./cutting-proxy.ts";
import { type EmptyDatabase, openEmptyDatabase, tables } from "./entries-database.ts";
import { insert, type Tx } from "./postgres-suite.ts";

const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key" };
const unavailable = { code: "IDEMPOTENCY_STORE_UNAVAILABLE" };

let database: EmptyDatabase;
let proxy: CuttingProxy;
let pool: pg.Pool;

beforeEach(async () => {
  database = await openEmptyDatabase();
  const url = new URL(database.url);
  proxy = await openCuttingProxy(Number(url.port));
  url.port = String(proxy.port);
  pool = new pg.Pool({ connectionString: url.href, max: 1 });
});

afterEach(async () => {
  await Promise.all([pool.end(), proxy[Symbol.asyncDispose]()]);
  await database[Symbol.asyncDispose]();
});

/** A store on the pool, whose one connection serves all calls. */
function open(deadlineMs = 10_000) {
  return postgresStore(drizzle(pool, { schema: tables }), { deadlineMs, purgeEveryMs: 0 });
}

function add(text: string) {
  return (tx: Tx) => insert(tx, text);
}

async function texts() {
  return (await database.query("SELECT text FROM entries ORDER BY id")).map(({ text }) => text);
}

describe("a connection of a node-postgres pool", () => {
  it("that the server ends while nobody uses it ends no process, and the next call gets another", async () => {
    const store = open();
    await once(store, call, add("a"));
    const faults: unknown[] = [];
    const note = (fault: unknown) => faults.push(fault);
    process.on("uncaughtExceptionMonitor", note);
    const removed = new Promise((resolve) => pool.once("remove", resolve)); // once() of node:events listens to errors
    await database.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    await removed;
    await once(store, { ...call, key: "next" }, add("b"));
    process.off("uncaughtExceptionMonitor", note);
    expect(faults).toEqual([]);
    expect(await texts()).toEqual(["a", "b"]);
  });

  it("has no more listeners after calls than before them, whether they succeed or fail", async () => {
    const store = open();
    const listeners = async () => {
      const client = await pool.connect();
      const counts = client.eventNames().map((name) => [name, client.listenerCount(name)]);
      client.release();
      return counts;
    };
    await store.find({ scope: "alice", field: "entries.add", key: "key" });
    const before = await listeners();
    for (let nth = 0; nth < 3; nth++) {
      await once(store, { ...call, key: `key ${nth}` }, add(`${nth}`));
      const failing = once(store, { ...call, key: `failing ${nth}` }, () => {
        throw new Error("no");
      });
      await expect(failing).rejects.toThrow("no");
    }
    expect(await listeners()).toEqual(before);
  });

  it("that could not roll back serves no other call, whose commit would keep what had failed", async () => {
    const store = open();
    proxy.refuse(/^Q.{4}ROLLBACK\0/s);
    const failing = once(store, call, async (tx) => {
      await insert(tx, "failed");
      throw new Error("no");
    });
    await expect(failing).rejects.toMatchObject(unavailable);
    await once(store, { ...call, key: "next" }, add("next"));
    expect(await texts()).toEqual(["next"]);
  });

  it("whose COMMIT is not answered is given up at the deadline, and makes room for another", async () => {
    proxy.silenceAt(/COMMIT\0/);
    await expect(once(open(200), call, add("a"))).rejects.toMatchObject(unavailable);
    expect(await once(open(), { ...call, key: "next" }, add("b"))).toMatchObject({ replayed: false });
    expect(await texts()).toEqual(["b"]);
  });
});
