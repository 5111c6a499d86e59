import { type ChildProcess, spawn } from "node:child_process";
import { once as event } from "node:events";
import { appendFileSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import Sqlite from "better-sqlite3";
import { eq, sql } from "drizzle-orm";
import { integer, sqliteTable } from "drizzle-orm/sqlite-core";
import { openDatabase } from "graphql-idempotent/sqlite";
import { describe, expect, it } from "vitest";
import { entries, openEntries, type Tx, tables, temporaryFolder } from "./entries-database.ts";

function add(tx: Tx, text: string) {
  return tx.insert(entries).values({ text }).run();
}

describe("the connections", () => {
  const pragmas = ["journal_mode", "synchronous", "foreign_keys"];

  it.each([
    ["FULL unless told otherwise", {}, 2],
    ["EXTRA", { synchronous: "EXTRA" }, 3],
    ["NORMAL", { synchronous: "NORMAL" }, 1],
    ["OFF", { synchronous: "OFF" }, 0],
  ] as const)(
    "are in WAL mode, check foreign keys, and wait for the disk: %s",
    async (_what, options, level) => {
      await using database = openDatabase(undefined, { schema: tables, ...options });
      const expected = [["wal"], [level], [1]];
      const read = (pragma: string) => sql.raw(`PRAGMA ${pragma}`);
      expect(pragmas.map((pragma) => database.db.values(read(pragma)).flat())).toEqual(expected);
      const inWriter = await database.write((tx) => pragmas.map((pragma) => tx.values(read(pragma)).flat()));
      expect(inWriter).toEqual(expected);
    },
  );

  it("are configured by their user before that, so that no configuration weakens it", async () => {
    let count = 0;
    const configure = (connection: Sqlite.Database) => {
      count += 1;
      connection.pragma("synchronous = OFF");
      connection.pragma("foreign_keys = OFF");
      connection.function("twice", (text) => `${text}${text}`);
    };
    await using database = openDatabase(undefined, { schema: tables, configure });
    expect(count).toBe(3);
    expect(database.db.values(sql`SELECT twice('a')`)).toEqual([["aa"]]);
    expect(await database.write((tx) => tx.values(sql`SELECT twice('a')`))).toEqual([["aa"]]);
    for (const pragma of [sql`PRAGMA synchronous`, sql`PRAGMA foreign_keys`]) {
      expect(database.db.values(pragma)).toEqual(await database.write((tx) => tx.values(pragma)));
      expect(database.db.values(pragma)).not.toEqual([[0]]);
    }
  });

  it("take Drizzle's own options", async () => {
    const logged: string[] = [];
    const logger = { logQuery: (query: string) => logged.push(query) };
    const wide = sqliteTable("wide", { lineCount: integer() });
    const configure = (connection: Sqlite.Database) => {
      if (!connection.readonly) connection.exec("CREATE TABLE wide (line_count INTEGER)");
    };
    await using database = openDatabase(undefined, {
      schema: { wide },
      casing: "snake_case",
      logger,
      configure,
    });
    await database.write((tx) => tx.insert(wide).values({ lineCount: 7 }).run());
    expect(database.db.select().from(wide).all()).toEqual([{ lineCount: 7 }]);
    expect(database.db.query.wide.findFirst().sync()).toEqual({ lineCount: 7 });
    expect(logged[0]).toBe('insert into "wide" ("line_count") values (?)');
    expect(logged).toHaveLength(3);
  });
});

describe("db", () => {
  it("only reads, also for those who go around its type", async () => {
    await using opened = await openEntries();
    const db = opened.database.db as unknown as Tx; // `as`: what JavaScript's users see
    const writes: (() => unknown)[] = [
      () => db.insert(entries).values({ text: "a" }).run(),
      () => db.run(sql`DELETE FROM entries`),
      () => db.all(sql`INSERT INTO entries (text) VALUES ('a') RETURNING id`),
      () => db.run(sql`CREATE TABLE b (b)`),
      () => db.run(sql`PRAGMA user_version = 7`),
      () => db.transaction(() => {}),
    ];
    for (const write of writes) expect(write).toThrow();
    expect(writes[0]).toThrow("attempt to write a readonly database");
    expect(opened.texts()).toEqual([]);
  });

  it("sees what has been committed, and nothing of a running transaction", async () => {
    await using opened = await openEntries();
    await opened.database.write(async (tx) => {
      add(tx, "a");
      expect(opened.texts()).toEqual([]);
      expect(tx.select().from(entries).all()).toHaveLength(1);
    });
    expect(opened.texts()).toEqual(["a"]);
  });
});

/** Drizzle wraps some errors into one of its own. */
function messagesOf(error: unknown): string[] {
  return error instanceof Error ? [error.message, ...messagesOf(error.cause)] : [];
}

const controls = [
  "BEGIN",
  "begin immediate",
  "COMMIT",
  "END",
  "END TRANSACTION",
  "ROLLBACK",
  "SAVEPOINT a",
  "RELEASE a",
  "ROLLBACK TO idempotent_call",
  "RELEASE idempotent_call",
  "RELEASE SAVEPOINT idempotent_call",
  "  \t\r\n\fCOMMIT",
  ";COMMIT",
  " ; ;; COMMIT;",
  "-- a comment\nCOMMIT",
  "--\n--\nCOMMIT",
  "/* a */COMMIT",
  "/* a */ /* b */ -- c\n ; COMMIT",
  "/**/COMMIT",
  "/* * / */ COMMIT",
  "\ufeffCOMMIT",
  "COMMIT -- a",
  "Commit/**/",
];

describe("transactions", () => {
  it.each(controls)("begin and end by themselves: %j is refused", async (text) => {
    await using opened = await openEntries();
    const refusal = expect.stringContaining("Transactions begin and end by themselves here");
    const action = (tx: Tx) => {
      add(tx, "a");
      tx.run(sql.raw(text));
    };
    await expect(opened.database.write(action).catch(messagesOf)).resolves.toContainEqual(refusal);
    expect(() => opened.database.db.all(sql.raw(text))).toThrow(
      "Transactions begin and end by themselves here",
    );
    expect(opened.texts()).toEqual([]);
    await opened.database.write((tx) => void add(tx, "b"));
    expect(opened.texts()).toEqual(["b"]);
  });

  it("say which statement was refused, and what to do instead", async () => {
    await using opened = await openEntries();
    await expect(opened.database.write((tx) => tx.all(sql`  COMMIT  `))).rejects.toThrow(
      'Transactions begin and end by themselves here, so "COMMIT" is refused. To undo part of a call\'s writes, use tx.transaction(); to undo all of them, throw.',
    );
  });

  it.each([
    "SELECT 'COMMIT'",
    "/* COMMIT */ SELECT 1",
    "-- COMMIT\nSELECT 1",
    "SELECT 1 AS 'commit'",
    "EXPLAIN COMMIT",
    "SELECT 1 -- /*\n",
    "SELECT '--' || 'x'",
  ])("are not ended by a word: %j is a query", async (text) => {
    await using opened = await openEntries();
    expect(await opened.database.write((tx) => tx.values(sql.raw(text)).length)).toBeGreaterThan(0);
    expect(opened.database.db.values(sql.raw(text)).length).toBeGreaterThan(0);
  });

  it("refuse two statements at once, so that none hides behind another", async () => {
    await using opened = await openEntries();
    await expect(opened.database.write((tx) => tx.all(sql`SELECT 1; COMMIT`))).rejects.toThrow(
      "contains more than one statement",
    );
  });

  it("roll back what was written when the work throws, at once or later, and throw just that", async () => {
    await using opened = await openEntries();
    const fault = new Error("no");
    const works = [
      (tx: Tx) => {
        add(tx, "a");
        throw fault;
      },
      async (tx: Tx) => {
        add(tx, "b");
        await Promise.resolve();
        throw fault;
      },
    ];
    for (const work of works) await expect(opened.database.write(work)).rejects.toBe(fault);
    expect(opened.texts()).toEqual([]);
  });

  it("keep the neighbours of one that fails, though they share its commit", async () => {
    await using opened = await openEntries();
    const writes = ["a", "b", "a", "c"].map((text) => opened.database.write((tx) => add(tx, text).changes));
    const statuses = (await Promise.allSettled(writes)).map(({ status }) => status);
    expect(statuses).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled"]);
    expect(opened.texts()).toEqual(["a", "b", "c"]);
  });

  it("run one at a time, whatever they wait for", async () => {
    await using opened = await openEntries();
    let running = 0;
    const writes = Array.from({ length: 20 }, (_, index) =>
      opened.database.write(async (tx) => {
        running += 1;
        expect(running).toBe(1);
        const before = await tx.$count(entries);
        await new Promise((resolve) => setImmediate(resolve));
        add(tx, `${index}`);
        expect(await tx.$count(entries)).toBe(before + 1);
        running -= 1;
      }),
    );
    await Promise.all(writes);
    expect(opened.texts()).toHaveLength(20);
  });
});

describe("tx", () => {
  it("throws once its call is over, whether that succeeded or failed", async () => {
    await using opened = await openEntries();
    const leaked: Tx[] = [];
    const prepared: (() => unknown)[] = [];
    const leak = (tx: Tx) => {
      leaked.push(tx);
      const query = tx.select().from(entries).prepare();
      prepared.push(() => query.all());
    };
    await opened.database.write(leak);
    await opened.database
      .write((tx) => {
        leak(tx);
        throw new Error("no");
      })
      .catch(() => {});
    // While another call has the connection, the late ones must not write into its transaction.
    await opened.database.write(() => {
      for (const tx of leaked) {
        for (const late of [
          () => add(tx, "late"),
          () => tx.all(sql`SELECT 1`),
          () => tx.transaction(() => {}),
        ]) {
          expect(late).toThrow("This transaction is over: a call must await all that it does with `tx`.");
        }
      }
      for (const late of prepared) expect(late).toThrow("This transaction is over");
    });
    expect(opened.texts()).toEqual([]);
  });

  it("throws past the call's deadline, and nothing of the call is kept", async () => {
    await using opened = await openEntries({ database: { deadlineMs: 20 } });
    let late: unknown;
    let finish = (): void => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const slow = opened.database.write(async (tx) => {
      add(tx, "a");
      await finished;
      try {
        add(tx, "late");
      } catch (error) {
        late = error;
      }
    });
    await expect(slow).rejects.toMatchObject({
      code: "IDEMPOTENCY_DEADLINE_EXCEEDED",
      message:
        "The call took longer than the 20 ms that a transaction may last, and was rolled back. Retry with the same key.",
    });
    await opened.database.write((tx) => void add(tx, "b"));
    finish();
    await new Promise((resolve) => setImmediate(resolve));
    expect(late).toMatchObject({ message: expect.stringContaining("This transaction is over") });
    expect(opened.texts()).toEqual(["b"]);
  });

  it("gives rows in the form that each query asked for, when queries share their SQL", async () => {
    await using opened = await openEntries();
    await opened.database.write((tx) => void add(tx, "a"));
    const asked = (handle: Pick<Tx, "select" | "all" | "values" | "get">) => {
      const query = handle.select().from(entries).where(eq(entries.id, 1));
      const raw = sql`select "id", "text" from "entries" where "entries"."id" = ${1}`;
      expect(query.toSQL().sql).toBe('select "id", "text" from "entries" where "entries"."id" = ?');
      return [
        query.all(),
        handle.all(raw),
        handle.values(raw),
        query.get(),
        handle.get(raw),
        query.values(),
        handle.all(raw),
        query.all(),
      ];
    };
    const row = { id: 1, text: "a" };
    const expected = [[row], [row], [[1, "a"]], row, row, [[1, "a"]], [row], [row]];
    expect(asked(opened.database.db as unknown as Tx)).toEqual(expected); // `as`: it can do all that is asked here
    expect(await opened.database.write(asked)).toEqual(expected);
  });
});

describe("tx.transaction()", () => {
  it("rolls back its own part when its callback throws, at once or later, and keeps the rest", async () => {
    await using opened = await openEntries();
    await opened.database.write(async (tx) => {
      add(tx, "before");
      expect(() =>
        tx.transaction((nested) => {
          add(nested, "sync");
          throw new Error("sync");
        }),
      ).toThrow("sync");
      const failing = tx.transaction(async (nested) => {
        add(nested, "async");
        await new Promise((resolve) => setImmediate(resolve));
        add(nested, "async, later");
        throw new Error("async");
      });
      await expect(failing).rejects.toThrow("async");
      expect(tx.transaction((nested) => add(nested, "kept").changes)).toBe(1);
      await tx.transaction(async (nested) => add(nested, "kept, async"));
      add(tx, "after");
    });
    expect(opened.texts()).toEqual(["before", "kept", "kept, async", "after"]);
  });

  it("may be nested further, each part on its own", async () => {
    await using opened = await openEntries();
    await opened.database.write((tx) =>
      tx.transaction(async (outer) => {
        add(outer, "outer");
        const inner = outer.transaction(async (nested) => {
          add(nested, "inner");
          await nested.transaction(async (innermost) => add(innermost, "innermost"));
          throw new Error("inner");
        });
        await inner.catch(() => {});
        await outer.transaction(async (nested) => add(nested, "second"));
      }),
    );
    expect(opened.texts()).toEqual(["outer", "second"]);
  });

  it("is rolled back with its call", async () => {
    await using opened = await openEntries();
    const failing = opened.database.write(async (tx) => {
      await tx.transaction(async (nested) => add(nested, "a"));
      throw new Error("no");
    });
    await expect(failing).rejects.toThrow("no");
    expect(opened.texts()).toEqual([]);
  });

  it("refuses what is done at its side, which would be undone or ended with it", async () => {
    await using opened = await openEntries();
    const refusal =
      "A nested transaction of this one is open: write through the `tx` that its callback was given, and await its end before anything else.";
    await opened.database.write(async (tx) => {
      let fail = (_error: Error): void => {};
      const first = tx.transaction(async (nested) => {
        add(nested, "undone");
        await new Promise((_resolve, reject) => {
          fail = reject;
        });
      });
      expect(() => add(tx, "aside")).toThrow(refusal);
      expect(() => tx.transaction(() => {})).toThrow(refusal);
      fail(new Error("first"));
      await expect(first).rejects.toThrow("first");
      add(tx, "after");
    });
    expect(opened.texts()).toEqual(["after"]);
  });

  it("is over when its callback is, and a late one ends nothing", async () => {
    await using opened = await openEntries();
    let leaked: Tx | undefined;
    let forgotten: Promise<unknown> | undefined;
    await opened.database.write(async (tx) => {
      await tx.transaction(async (nested) => {
        leaked = nested as Tx; // `as`: for a look from outside
        add(nested, "a");
        // Not awaited: it goes with the transaction that it stands in.
        forgotten = Promise.allSettled([
          nested.transaction(async (innermost) => {
            await new Promise((resolve) => setImmediate(resolve));
            add(innermost, "late");
          }),
        ]);
      });
      expect(() => add(leaked as Tx, "late")).toThrow("over"); // `as`: it has been set
      await forgotten;
      add(tx, "b");
    });
    expect(await forgotten).toMatchObject([{ status: "rejected" }]);
    expect(opened.texts()).toEqual(["a", "b"]);
  });
});

describe("close()", () => {
  it("waits for the writes in the queue, refuses new ones, and may be called again", async () => {
    await using opened = await openEntries();
    const writes = ["a", "b", "c"].map((text) => opened.database.write((tx) => add(tx, text).changes));
    const closed = opened.database.close();
    await expect(opened.database.write(() => 1)).rejects.toMatchObject({
      code: "IDEMPOTENCY_STORE_UNAVAILABLE",
    });
    expect(await Promise.all(writes)).toEqual([1, 1, 1]);
    await Promise.all([closed, opened.database.close()]);
    expect(() => opened.texts()).toThrow("not open");
    const connection = new Sqlite(opened.database.file, { readonly: true });
    expect(connection.prepare("SELECT text FROM entries").pluck().all()).toEqual(["a", "b", "c"]);
    connection.close();
  });

  it("removes a temporary database with its folder, and leaves any other", async () => {
    const temporary = openDatabase(undefined, { schema: tables });
    const other = openDatabase(undefined, { schema: tables });
    expect(temporary.file).not.toBe(other.file);
    expect(existsSync(temporary.file)).toBe(true);
    await temporary.close();
    expect(existsSync(dirname(temporary.file))).toBe(false);
    expect(existsSync(other.file)).toBe(true);
    await other[Symbol.asyncDispose]();
    expect(existsSync(dirname(other.file))).toBe(false);
  });
});

/** Writes migrations as drizzle-kit does: each makes a table, and notes that it was applied. */
function writeMigrations(folder: string, count: number): void {
  mkdirSync(join(folder, "meta"), { recursive: true });
  const tags = Array.from({ length: count }, (_, index) => `000${index}_step`);
  for (const [index, tag] of tags.entries()) {
    const first = "CREATE TABLE applied (step INTEGER);--> statement-breakpoint\n";
    const steps = `CREATE TABLE table_${index} (a INTEGER);--> statement-breakpoint\nINSERT INTO applied VALUES (${index});`;
    writeFileSync(join(folder, `${tag}.sql`), `${index === 0 ? first : ""}${steps}`);
  }
  const journal = tags.map((tag, idx) => ({ idx, version: "6", when: idx + 1, tag, breakpoints: true }));
  const meta = { version: "7", dialect: "sqlite", entries: journal };
  writeFileSync(join(folder, "meta", "_journal.json"), JSON.stringify(meta));
}

function appliedSteps(file: string): unknown[] {
  const connection = new Sqlite(file, { readonly: true });
  try {
    return connection.prepare("SELECT step FROM applied ORDER BY rowid").pluck().all();
  } finally {
    connection.close();
  }
}

describe("migrations", () => {
  it("are applied on opening, each once, and new ones the next time", async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, "migrated.db");
    for (const count of [2, 2, 3]) {
      writeMigrations(folder.path, count);
      await openDatabase(file, { schema: tables, migrationsFolder: folder.path }).close();
      expect(appliedSteps(file)).toEqual([0, 1, 2].slice(0, count));
    }
  });

  it("are applied each as a whole, in order, as far as the first that fails", async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, "migrated.db");
    writeMigrations(folder.path, 3);
    writeFileSync(join(folder.path, "0002_step.sql"), "CREATE TABLE table_0 (a INTEGER);");
    const open = () => openDatabase(file, { schema: tables, migrationsFolder: folder.path });
    expect(open).toThrow("table_0 already exists");
    expect(appliedSteps(file)).toEqual([0, 1]);
    writeMigrations(folder.path, 3);
    await open().close();
    expect(appliedSteps(file)).toEqual([0, 1, 2]);
  });

  it("are applied once, when several processes open the file at one moment", async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, "migrated.db");
    writeMigrations(folder.path, 1);
    await openDatabase(file, { schema: tables, migrationsFolder: folder.path }).close();
    writeMigrations(folder.path, 8);
    // Long enough for the others to come and look which migrations are done.
    const slow =
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000) SELECT max(i) FROM n";
    appendFileSync(
      join(folder.path, "0001_step.sql"),
      `--> statement-breakpoint\nCREATE TABLE slow AS ${slow};`,
    );
    const processes = await Promise.all(Array.from({ length: 3 }, () => openingProcess(folder.path)));
    const answers = processes.map((child) => answerOf(child));
    const exits = processes.map((child) => event(child, "exit"));
    for (const { stdin } of processes) stdin?.end(`${file}\n`);
    expect(await Promise.all(answers)).toEqual(["opened", "opened", "opened"]);
    expect(await Promise.all(exits)).toEqual([
      [0, null],
      [0, null],
      [0, null],
    ]);
    expect(appliedSteps(file)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });
});

/** A process with the built package, which opens the file that it is told of. */
async function openingProcess(migrationsFolder: string): Promise<ChildProcess> {
  const script = `
    import { createInterface } from "node:readline";
    import { openDatabase } from "graphql-idempotent/sqlite";
    console.log("ready");
    for await (const file of createInterface({ input: process.stdin })) {
      const database = openDatabase(file, { schema: {}, migrationsFolder: ${JSON.stringify(migrationsFolder)} });
      await database.close();
      console.log("opened");
    }`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  expect(await answerOf(child)).toBe("ready");
  return child;
}

async function answerOf({ stdout }: ChildProcess): Promise<string> {
  if (!stdout) throw new Error("The process has no output.");
  const [data] = await event(stdout, "data", { signal: AbortSignal.timeout(20_000) });
  return String(data).trim();
}
