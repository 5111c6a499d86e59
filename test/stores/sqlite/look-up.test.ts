import { renameSync } from "node:fs";
import Sqlite from "better-sqlite3";
import { type OnceOptions, once } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { held } from "../store-suite/entries.ts";
import { type Entries, entries, openEntries, type Tx } from "./entries-database.ts";

const call = { scope: "alice", field: "entries.add", key: "key" } satisfies OnceOptions;

function add(text: string) {
  return async (tx: Tx) => tx.insert(entries).values({ text }).returning().get();
}

/** Starts a call that keeps the batch open until it is released. */
async function startNeighbour({ store }: Entries) {
  const { run, started, release } = held(add("neighbour"));
  const running = once(store, { ...call, key: "neighbour" }, run);
  await started;
  return { running, release };
}

describe("a look-up", () => {
  it("sees no result before the commit that makes it durable", async () => {
    await using opened = await openEntries({ database: { maxBatchMs: 60_000 } });
    const first = once(opened.store, call, add("a")); // it has run when its neighbour starts
    const neighbour = await startNeighbour(opened);
    expect(await opened.store.find(call)).toBeUndefined();
    neighbour.release();
    await Promise.all([first, neighbour.running]);
    expect(await opened.store.find(call)).toMatchObject(call);
  });

  it("answers nothing from a file that was moved away, once a commit has noticed, until it is back", async () => {
    await using opened = await openEntries();
    const { file } = opened.database;
    const first = await once(opened.store, call, add("a"));
    renameSync(file, `${file}.moved`);
    for (const key of ["another", call.key]) {
      await expect(once(opened.store, { ...call, key }, add(key))).rejects.toMatchObject({
        code: "IDEMPOTENCY_STORE_UNAVAILABLE",
        message: expect.stringContaining("is not where it was opened"),
      });
    }
    renameSync(`${file}.moved`, file);
    expect(await once(opened.store, call, add("b"))).toEqual({ ...first, replayed: true });
  });

  it("that meets a file in recovery leaves the search to the transaction", async () => {
    let isRecovering = false;
    /** A temporary view takes the table's place for the connections that read. */
    function configure(connection: Sqlite.Database): void {
      if (!connection.readonly) return;
      connection.function("recovering", () => {
        if (isRecovering) throw new Sqlite.SqliteError("database is locked", "SQLITE_BUSY_RECOVERY");
        return 0;
      });
      connection.exec(
        "CREATE TEMP VIEW idempotency_records AS SELECT * FROM main.idempotency_records WHERE recovering() = 0",
      );
    }
    await using opened = await openEntries({ database: { configure } });
    const first = await once(opened.store, call, add("a"));
    const neighbour = await startNeighbour(opened); // look-ups have a connection of their own meanwhile
    isRecovering = true;
    const retry = once(opened.store, call, add("b"));
    expect(await opened.store.find(call)).toBeUndefined();
    isRecovering = false;
    neighbour.release();
    await neighbour.running;
    expect(await retry).toEqual({ ...first, replayed: true });
  });
});
