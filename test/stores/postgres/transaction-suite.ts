import { setTimeout as sleep } from "node:timers/promises";
import { sql } from "drizzle-orm";
import { GraphQLError } from "graphql";
import { type OnceOptions, once } from "graphql-idempotent";
import { afterEach, beforeEach, expect, it } from "vitest";
import { held } from "../store-suite/entries.ts";
import { untilWaiting } from "./lock-waits.ts";
import { insert, type OpenPostgresEntries, type PostgresEntries, type Tx } from "./postgres-suite.ts";

const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key" };
const failWith = (state: string) =>
  sql.raw(`DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '${state}'; END $$`);

/** The transaction of a call, as a resolver uses it. */
export function transactionSuite<OwnTx extends Tx>(open: OpenPostgresEntries<OwnTx>): void {
  let opened: PostgresEntries<OwnTx>;

  beforeEach(async () => {
    opened = await open();
  });

  afterEach(() => opened[Symbol.asyncDispose]());

  const defaults = {
    default_transaction_isolation: "serializable",
    statement_timeout: "77s",
    lock_timeout: "66s",
  };

  async function limits(tx: Tx): Promise<unknown> {
    const [row] = await tx
      .select({
        isolation: sql`current_setting('transaction_isolation')`,
        statement: sql`current_setting('statement_timeout')`,
        idle: sql`current_setting('idle_in_transaction_session_timeout')`,
        lock: sql`current_setting('lock_timeout')`,
      })
      .from(sql`(VALUES (1)) AS one`);
    return row;
  }

  const own = { isolation: "read committed", statement: "5s", idle: "6s", lock: "66s" };

  it("has limits of its own, and READ COMMITTED, whatever the defaults", async () => {
    const { store } = opened.join({ deadlineMs: 5_000 }, defaults);
    expect(await once(store, call, limits)).toMatchObject({ result: own });
  });

  it("has the same limits after a wait for its key, and its session keeps no lock", async () => {
    const { store } = opened.join({ deadlineMs: 5_000 }, defaults);
    const first = held((tx: OwnTx) => insert(tx, "a"));
    const running = once(opened.store, call, first.run);
    await first.started;
    const waiting = once(store, call, limits);
    await untilWaiting(opened, 1);
    first.release(new Error("The first failed."));
    await expect(running).rejects.toThrow("The first failed.");
    expect(await waiting).toMatchObject({ result: own });
    const locks = `SELECT 1 FROM pg_locks JOIN pg_database ON pg_database.oid = database
      WHERE datname = current_database() AND locktype = 'advisory'`;
    expect(await opened.query(locks)).toEqual([]);
  });

  it("undoes a nested transaction that throws, and keeps the writes around it", async () => {
    await once(opened.store, call, async (tx) => {
      await insert(tx, "around");
      await tx.transaction(async (nested) => {
        await insert(nested, "kept");
        const failing = nested.transaction(async (innermost) => {
          await insert(innermost, "undone");
          throw new Error("no");
        });
        await expect(failing).rejects.toThrow("no");
      });
    });
    expect(await opened.texts()).toEqual(["around", "kept"]);
  });

  it("goes on after a statement that failed in a nested transaction", async () => {
    await once(opened.store, { ...call, errors: "REPLAY" }, async (tx) => {
      await insert(tx, "a");
      await expect(tx.transaction((nested) => insert(nested, "a"))).rejects.toThrow();
      return insert(tx, "b");
    });
    expect(await opened.texts()).toEqual(["a", "b"]);
  });

  it("keeps nothing when a resolver goes on after a statement that failed", async () => {
    const failing = once(opened.store, call, async (tx) => {
      await insert(tx, "a");
      await insert(tx, "a").catch(() => {});
      return "all is well";
    });
    await expect(failing).rejects.toThrow();
    expect(await opened.texts()).toEqual([]);
    expect(await once(opened.store, call, (tx) => insert(tx, "b"))).toMatchObject({ replayed: false });
  });

  it("keeps an error as the result with REPLAY even after a failed statement, and undoes all writes", async () => {
    const replaying: OnceOptions = { ...call, errors: "REPLAY" };
    let ran = 0;
    async function taken(tx: Tx): Promise<never> {
      ran += 1;
      await insert(tx, "a");
      await insert(tx, "a").catch(() => {
        throw new GraphQLError("Taken", { extensions: { code: "TAKEN" } });
      });
      throw new Error("The second insert must fail.");
    }
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(once(opened.store, replaying, taken)).rejects.toMatchObject({
        extensions: { code: "TAKEN" },
      });
    }
    expect(ran).toBe(1);
    expect(await opened.texts()).toEqual([]);
  });

  it.each([
    "commit",
    " /* all */ COMMIT AND CHAIN",
    "-- now\nrollback",
    "BEGIN",
    "start transaction",
    "END",
    "abort",
    "PREPARE TRANSACTION 'a'",
  ])("refuses %j through tx, and keeps nothing", async (text) => {
    const ending = once(opened.store, call, async (tx) => {
      await insert(tx, "a");
      await tx.execute(sql.raw(text));
    });
    await expect(ending).rejects.toMatchObject({
      cause: { message: expect.stringContaining("Transactions begin and end by themselves here") },
    });
    expect(await opened.texts()).toEqual([]);
  });

  it("lets savepoints through", async () => {
    await once(opened.store, call, async (tx) => {
      for (const text of [
        "SAVEPOINT mine",
        "ROLLBACK TO SAVEPOINT mine",
        "ROLLBACK WORK TO mine",
        "RELEASE mine",
      ]) {
        await tx.execute(sql.raw(text));
      }
    });
  });

  it("can't be written through once it is over", async () => {
    let kept: Tx | undefined;
    await once(opened.store, call, (tx) => {
      kept = tx;
    });
    const over = { cause: { message: expect.stringContaining("This transaction is over") } };
    await expect(kept && insert(kept, "late")).rejects.toMatchObject(over);
    expect(await opened.texts()).toEqual([]);
  });

  it("is rolled back at its deadline, and later writes of its resolver are refused", async () => {
    const { store } = opened.join({ deadlineMs: 200 });
    let late: Promise<unknown> = Promise.resolve();
    const slow = once(store, call, (tx) => {
      late = insert(tx, "early")
        .then(() => sleep(300))
        .then(() => insert(tx, "late"));
      return late;
    });
    await expect(slow).rejects.toMatchObject({ code: "IDEMPOTENCY_DEADLINE_EXCEEDED" });
    await expect(late).rejects.toThrow();
    expect(await opened.texts()).toEqual([]);
    expect(await once(store, call, (tx) => insert(tx, "again"))).toMatchObject({ replayed: false });
  });

  it("is rolled back when one of its statements takes longer than the deadline", async () => {
    const { store } = opened.join({ deadlineMs: 200 });
    const slow = once(store, call, (tx) => tx.execute(sql`SELECT pg_sleep(20)`));
    await expect(slow).rejects.toMatchObject({ code: "IDEMPOTENCY_DEADLINE_EXCEEDED" });
  });

  const rerunning = () => opened.join({ rerun: true }).store;

  it.each(["40001", "40P01"])("is run again after %s, and takes effect once", async (state) => {
    let ran = 0;
    const result = await once(rerunning(), call, async (tx) => {
      ran += 1;
      await insert(tx, "a");
      if (ran < 3) await tx.execute(failWith(state));
      return ran;
    });
    expect(result).toMatchObject({ result: 3, replayed: false });
    expect(await opened.texts()).toEqual(["a"]);
  });

  it("is run again even if its resolver turns a serialization failure into an error of its own", async () => {
    let ran = 0;
    const result = await once(rerunning(), { ...call, errors: "REPLAY" }, async (tx) => {
      ran += 1;
      if (ran > 1) return insert(tx, "a");
      return tx.execute(failWith("40001")).catch(() => {
        throw new GraphQLError("Sold out");
      });
    });
    expect(result).toMatchObject({ result: { text: "a" }, replayed: false });
  });

  it("is given up after six attempts", async () => {
    let ran = 0;
    const failing = once(rerunning(), call, async (tx) => {
      ran += 1;
      await tx.execute(failWith("40001"));
    });
    await expect(failing).rejects.toMatchObject({ code: "IDEMPOTENCY_STORE_UNAVAILABLE" });
    expect(ran).toBe(6);
  });

  it("that is in a deadlock with another is run again, and each takes effect once", async () => {
    await opened.query("INSERT INTO entries (text) VALUES ('one'), ('two')");
    const arrived: (() => void)[] = [];
    /** Both must have locked their first row before either asks for its second. */
    const meet = () =>
      new Promise<void>((resolve) => {
        arrived.push(resolve);
        if (arrived.length >= 2) for (const go of arrived) go();
      });
    const crossing = (first: string, second: string) => async (tx: Tx) => {
      const touch = (text: string) => tx.execute(sql`UPDATE entries SET text = text WHERE text = ${text}`);
      await touch(first);
      await meet();
      await touch(second);
      return insert(tx, `${first} before ${second}`);
    };
    const both = [
      once(rerunning(), { ...call, key: "a" }, crossing("one", "two")),
      once(rerunning(), { ...call, key: "b" }, crossing("two", "one")),
    ];
    for (const { replayed } of await Promise.all(both)) expect(replayed).toBe(false);
    expect((await opened.texts()).slice(2).sort()).toEqual(["one before two", "two before one"]);
  });

  it("keeps values unchanged where backslashes are escapes in plain strings", async () => {
    const { store } = opened.join({}, { standard_conforming_strings: "off", escape_string_warning: "off" });
    const key = "\\'); DROP TABLE entries; --";
    const text = "a\\";
    expect(await once(store, { ...call, key }, (tx) => insert(tx, text))).toMatchObject({ result: { text } });
    expect(await once(opened.store, { ...call, key }, () => "never")).toMatchObject({
      result: { text },
      replayed: true,
    });
    expect(await opened.records()).toMatchObject([{ key, payload: JSON.stringify({ id: 1, text }) }]);
  });
}
