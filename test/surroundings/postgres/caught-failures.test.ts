import { sql } from "drizzle-orm";
import { GraphQLError } from "graphql";
import { once, onceExternal } from "graphql-idempotent";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Process } from "../../stores/postgres/connect.ts";
import { type EmptyDatabase, openEmptyDatabase } from "../../stores/postgres/entries-database.ts";
import { type Connect, insert, type Tx } from "../../stores/postgres/postgres-suite.ts";
import { onBothDrivers } from "./both-drivers.ts";

const call = { scope: "alice", field: "entries.add", key: "key" };
const ignored = () => {};
const raise = (state: string) =>
  sql.raw(`DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '${state}'; END $$`);

/** Works that write, let a statement fail, and catch its error: PostgreSQL then rolls back the whole transaction. */
const works: Record<string, (tx: Tx) => Promise<unknown>> = {
  "a violated constraint": (tx) => insert(tx, "taken").catch(ignored),
  "a syntax error": (tx) => tx.execute(sql`SELEC`).catch(ignored),
  "a failing function": (tx) => tx.execute(raise("P0001")).catch(ignored),
  "a failing statement among several": (tx) => tx.execute(sql.raw("SELECT 1; SELECT 1/0")).catch(ignored),
  "a failing statement that is not awaited": async (tx) => {
    void insert(tx, "taken").catch(ignored);
  },
  "a failing statement of a nested transaction that is over": async (tx) => {
    let kept = tx;
    await tx.transaction(async (nested) => {
      kept = nested as unknown as Tx; // `as`: a nested transaction of the same tables
    });
    await insert(kept, "taken").catch(ignored);
  },
  "a savepoint of its own that does not exist": (tx) =>
    tx.execute(sql`ROLLBACK TO SAVEPOINT missing`).catch(ignored),
};

function suite<OwnTx extends Tx>(connect: Connect<OwnTx>): void {
  let database: EmptyDatabase;
  let process: Process<OwnTx>;

  beforeEach(async () => {
    database = await openEmptyDatabase();
    process = connect(database.url, { purgeEveryMs: 0, deadlineMs: 2_000 });
    await database.query("INSERT INTO entries (text) VALUES ('taken')");
  });

  afterEach(async () => {
    await process[Symbol.asyncDispose]();
    await database[Symbol.asyncDispose]();
  });

  async function expectNothingKept(): Promise<void> {
    expect(await database.query("SELECT text FROM entries")).toEqual([{ text: "taken" }]);
    expect(await database.query("SELECT 1 FROM idempotency_records WHERE lease_until IS NULL")).toEqual([]);
  }

  const paths: Record<string, (work: (tx: OwnTx) => Promise<unknown>) => Promise<unknown>> = {
    "a call without a key": (work) => process.store.write(work),
    "a protected call": (work) => once(process.store, call, work),
    "a protected call whose errors are replayed": (work) =>
      once(process.store, { ...call, errors: "REPLAY" }, work),
    "a write under a lease": (work) =>
      onceExternal<OwnTx, unknown>(process.store, call, (external) => external.write("entry", work)),
  };

  describe.each(Object.keys(paths))("%s", (path) => {
    const run = (work: (tx: Tx) => Promise<unknown>): Promise<unknown> =>
      (paths[path] as (typeof paths)[string])(async (tx) => {
        // `as`: one of its names
        await insert(tx, "a");
        await work(tx);
        return "done";
      });

    it.each(Object.keys(works))("is never acknowledged after %s that was caught", async (name) => {
      const running = run(works[name] as (tx: Tx) => Promise<unknown>); // `as`: one of its names
      await expect(running).rejects.toThrow(
        /A statement of this call failed.*rolled .*back.*tx\.transaction\(\)/,
      );
      await expectNothingKept();
    });

    it("is refused at its deadline if it catches the timeout of a statement", async () => {
      const slow = run((tx) =>
        tx.execute(sql`SET LOCAL statement_timeout = 50; SELECT pg_sleep(5)`).catch(ignored),
      );
      await expect(slow).rejects.toMatchObject({ code: "IDEMPOTENCY_DEADLINE_EXCEEDED" });
      await expectNothingKept();
    });

    it("is refused as the store's problem if it catches an error of the server", async () => {
      const failing = run((tx) => tx.execute(raise("53100")).catch(ignored));
      await expect(failing).rejects.toMatchObject({ code: "IDEMPOTENCY_STORE_UNAVAILABLE" });
      await expectNothingKept();
    });

    it("never commits halfway if it catches a deadlock or a serialization failure", async () => {
      for (const state of ["40001", "40P01"]) {
        const failing = run((tx) => tx.execute(raise(state)).catch(ignored));
        await expect(failing).rejects.toMatchObject({ code: "IDEMPOTENCY_STORE_UNAVAILABLE" });
      }
      await expectNothingKept();
    });

    it("is acknowledged if the statement failed in a nested transaction", async () => {
      await run((tx) => tx.transaction((nested) => insert(nested as unknown as Tx, "taken")).catch(ignored)); // `as`: of the same tables
      expect(await database.query("SELECT text FROM entries WHERE text = 'a'")).toHaveLength(1);
    });
  });

  it("keeps the error that a call throws after a failure that it caught, and no write", async () => {
    const throwing = async (tx: Tx) => {
      await insert(tx, "a");
      await insert(tx, "taken").catch(ignored);
      throw new GraphQLError("Sold out");
    };
    for (let attempt = 0; attempt < 2; attempt++) {
      await expect(once(process.store, { ...call, errors: "REPLAY" }, throwing)).rejects.toThrow("Sold out");
    }
    expect(await database.query("SELECT text FROM entries")).toEqual([{ text: "taken" }]);
  });
}

describe("a failed statement whose error is caught", () => onBothDrivers(suite));
