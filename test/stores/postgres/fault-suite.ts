import { sql } from "drizzle-orm";
import { type OnceOptions, once } from "graphql-idempotent";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type CuttingProxy, openCuttingProxy } from "./cutting-proxy.ts";
import {
  insert,
  numberFrom,
  type OpenPostgresEntries,
  type PostgresEntries,
  type Tx,
} from "./postgres-suite.ts";

const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key" };
const unavailable = { code: "IDEMPOTENCY_STORE_UNAVAILABLE" };

function add(text: string) {
  return (tx: Tx) => insert(tx, text);
}

/** Connections that break, and databases that can't be used. */
export function faultSuite<OwnTx extends Tx>(open: OpenPostgresEntries<OwnTx>): void {
  let opened: PostgresEntries<OwnTx>;
  let proxy: CuttingProxy;
  let url: string;

  beforeEach(async () => {
    opened = await open();
    const direct = new URL(opened.url);
    proxy = await openCuttingProxy(Number(direct.port));
    direct.port = String(proxy.port);
    url = direct.href;
  });

  afterEach(async () => {
    await opened[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  });

  it("that cuts the connection before the COMMIT arrives keeps nothing, and the retry runs", async () => {
    const { store } = opened.join({}, {}, url);
    proxy.cutAtCommit("before");
    await expect(once(store, call, add("a"))).rejects.toMatchObject(unavailable);
    expect(await opened.texts()).toEqual([]);
    expect(await once(opened.store, call, add("b"))).toMatchObject({ replayed: false });
  });

  it("that cuts the connection after the COMMIT is reported as such, and the retry finds the result", async () => {
    const { store } = opened.join({}, {}, url);
    proxy.cutAtCommit("after");
    await expect(once(store, call, add("a"))).rejects.toMatchObject(unavailable);
    expect(await opened.texts()).toEqual(["a"]);
    const retried = await once(await opened.another(), call, add("b"));
    expect(retried).toMatchObject({ result: { id: 1, text: "a" }, replayed: true });
  });

  it("that ends the connection during a statement keeps nothing, and no later statement runs elsewhere", async () => {
    let later: Promise<unknown> = Promise.resolve();
    const failing = once(opened.store, call, async (tx) => {
      await insert(tx, "a");
      await tx.execute(sql`SELECT pg_terminate_backend(pg_backend_pid())`).catch(() => {});
      later = insert(tx, "b");
      return later;
    });
    await expect(failing).rejects.toMatchObject(unavailable);
    await expect(later).rejects.toThrow();
    expect(await opened.texts()).toEqual([]);
    expect(await once(await opened.another(), call, add("c"))).toMatchObject({ replayed: false });
  });

  it("that ends the connection while the resolver waits for something else keeps nothing", async () => {
    const failing = once(opened.store, call, async (tx) => {
      await insert(tx, "a");
      const pid = await numberFrom(tx, "SELECT pg_backend_pid()");
      await opened.query(`SELECT pg_terminate_backend(${pid})`);
      await untilGone(pid);
      return "all is well";
    });
    await expect(failing).rejects.toMatchObject(unavailable);
    expect(await opened.texts()).toEqual([]);
    expect(await once(await opened.another(), call, add("b"))).toMatchObject({ replayed: false });
  });

  it("that ends the connection in a nested transaction keeps nothing", async () => {
    const failing = once(opened.store, { ...call, errors: "REPLAY" }, (tx) =>
      tx.transaction(async (nested) => {
        await insert(nested, "a");
        await nested.execute(sql`SELECT pg_terminate_backend(pg_backend_pid())`);
      }),
    );
    await expect(failing).rejects.toMatchObject(unavailable);
    expect(await opened.texts()).toEqual([]);
  });

  it("of the network makes the store unavailable until the network works again", async () => {
    const { store } = opened.join({ deadlineMs: 2_000 }, {}, url);
    await once(store, call, add("a"));
    proxy.isDown = true;
    await expect(once(store, { ...call, key: "b" }, add("b"))).rejects.toMatchObject(unavailable);
    await expect(store.write((tx) => insert(tx, "c"))).rejects.toMatchObject(unavailable);
    await expect(store.purge()).rejects.toMatchObject(unavailable);
    proxy.isDown = false;
    await expect
      .poll(() => once(store, { ...call, key: "b" }, add("b")).catch(() => "unavailable"), {
        timeout: 10_000,
      })
      .toMatchObject({ replayed: false });
    expect(await opened.texts()).toEqual(["a", "b"]);
  });

  it("of a read-only database makes the store unavailable", async () => {
    const { store } = opened.join({}, { default_transaction_read_only: "on" });
    await expect(once(store, call, () => 1)).rejects.toMatchObject(unavailable);
  });

  it("that refuses the COMMIT is reported as the resolver's, and keeps nothing", async () => {
    await opened.query(
      `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today' USING ERRCODE = '23514'; END $$;
       CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`,
    );
    const refused = await once(opened.store, call, add("a")).catch((error: Error) => error.cause ?? error);
    expect(refused).toMatchObject({ message: "not today" }); // over node-postgres, Drizzle wraps the error
    expect(await opened.texts()).toEqual([]);
    expect(await opened.records()).toEqual([]);
    expect(await once(opened.store, call, () => "after all")).toMatchObject({ replayed: false });
  });

  it("of a pool that stays full makes the store unavailable, and the call runs nothing later", async () => {
    const { store, occupy } = opened.join({ deadlineMs: 300 });
    const release = await occupy();
    await expect(once(store, call, add("a"))).rejects.toMatchObject(unavailable);
    await expect(store.write((tx) => insert(tx, "b"))).rejects.toMatchObject(unavailable);
    release();
    expect(await once(store, { ...call, key: "after" }, add("c"))).toMatchObject({ replayed: false });
    expect(await opened.texts()).toEqual(["c"]);
  });

  it("of the table of records says what to do", async () => {
    await opened.query("DROP TABLE idempotency_records");
    await expect(once(opened.store, call, add("a"))).rejects.toThrow("generate a migration with drizzle-kit");
  });

  it("of a scope that PostgreSQL can't hold does not affect calls with other scopes", async () => {
    const calls = ["a", "a\0b", "c"].map((scope) => once(opened.store, { ...call, scope }, add(scope)));
    const [first, second, third] = await Promise.allSettled(calls);
    expect(first).toMatchObject({ status: "fulfilled" });
    expect(second).toMatchObject({
      reason: { message: expect.stringContaining("can't keep the character NUL") },
    });
    expect(third).toMatchObject({ status: "fulfilled" });
  });

  async function untilGone(pid: number): Promise<void> {
    while ((await opened.query(`SELECT 1 FROM pg_stat_activity WHERE pid = ${pid}`)).length > 0);
  }
}
