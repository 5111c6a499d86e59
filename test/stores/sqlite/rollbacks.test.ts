import type Sqlite from "better-sqlite3";
import { sql } from "drizzle-orm";
import { type OnceOptions, once } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { type Entries, entries, openEntries, type Tx } from "./entries-database.ts";

const call: OnceOptions = { scope: "alice", field: "entries.add", key: "key" };

function add(tx: Tx, text: string) {
  return tx.insert(entries).values({ text }).run().changes;
}

/** A database whose user has kept the connection that writes, and can do with it what `tx` refuses. */
async function openWithWriter(): Promise<Entries & { readonly writing: Sqlite.Database }> {
  const connections: Sqlite.Database[] = [];
  const configure = (connection: Sqlite.Database) => connections.push(connection);
  const opened = await openEntries({ database: { configure } });
  const writing = connections.find(({ readonly }) => !readonly);
  if (!writing) throw new Error("One of the connections writes.");
  return { ...opened, writing };
}

describe("a call", () => {
  it("whose writes SQLite has rolled back leaves no record, though its resolver returns as if nothing had been", async () => {
    await using opened = await openEntries();
    await opened.database.write((tx) => add(tx, "there"));
    const failing = once(opened.store, call, (tx) => {
      add(tx, "mine");
      try {
        tx.run(sql`INSERT OR ROLLBACK INTO entries (id, text) VALUES (1, 'again')`);
      } catch {
        // It goes on, and touches its transaction no more.
      }
      return "all is well";
    });
    await expect(failing).rejects.toMatchObject({ code: "IDEMPOTENCY_STORE_UNAVAILABLE" });
    expect(opened.texts()).toEqual(["there"]);
    expect(await once(opened.store, call, () => "ran")).toMatchObject({ result: "ran", replayed: false });
  });

  it("that can't be undone by itself is undone with all of its batch, and keeps nothing", async () => {
    await using opened = await openWithWriter();
    const failing = once(opened.store, call, (tx) => {
      add(tx, "failed");
      opened.writing.exec("RELEASE idempotent_call");
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow();
    await opened.database.write((tx) => add(tx, "next"));
    expect(opened.texts()).toEqual(["next"]);
    expect(await once(opened.store, call, () => "ran")).toMatchObject({ replayed: false });
  });

  it("that can't be rolled back at its end is rolled back before the next one, which it does not hold up", async () => {
    await using opened = await openWithWriter();
    let stopReading = (): unknown => undefined;
    const failing = opened.database.write((tx) => {
      add(tx, "failed");
      // While the rows of a query are read one by one, its connection runs nothing else.
      const rows = opened.writing.prepare("SELECT value FROM json_each('[1, 2]')").iterate();
      stopReading = () => rows.return?.();
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow();
    expect(opened.writing.inTransaction).toBe(true);
    stopReading();
    await opened.database.write((tx) => add(tx, "next"));
    expect(opened.texts()).toEqual(["next"]);
  });
});
