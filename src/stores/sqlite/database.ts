import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { inspect } from "node:util";
import Sqlite from "better-sqlite3";
import { type BetterSQLite3Database, drizzle } from "drizzle-orm/better-sqlite3";
import { checkOption, checkOptions, checkPositive, isFunction } from "../../options.ts";
import { sqliteErrorIn } from "./faults.ts";
import { MigrationError, migrate } from "./migrate.ts";
import { StatementCache } from "./statements.ts";
import { type DrizzleOptions, type Schema, type Transaction, transactionFactory } from "./transaction.ts";
import { Writer, type WriterOptions } from "./writer.ts";

export interface DatabaseOptions<Tables extends Schema> extends DrizzleOptions<Tables>, WriterOptions {
  /** The folder of migrations that drizzle-kit generated; they are applied on opening. @default none */
  readonly migrationsFolder?: string;
  /** Loads extensions or sets pragmas, on each of the three connections, before those that the guarantees need. */
  readonly configure?: (connection: Sqlite.Database) => void;
  /**
   * When SQLite waits for the disk (sqlite.org/pragma.html#pragma_synchronous). FULL: an acknowledged commit
   * survives a power cut. NORMAL and OFF give that up for speed: after a power cut, results that clients have
   * seen may be gone, and their retries run again. @default "FULL"
   */
  readonly synchronous?: "EXTRA" | "FULL" | "NORMAL" | "OFF";
}

/** A Drizzle handle that only reads. */
export interface ReadonlyDatabase<Tables extends Schema>
  extends Pick<
    BetterSQLite3Database<Tables>,
    "select" | "selectDistinct" | "query" | "$with" | "$count" | "all" | "get" | "values"
  > {
  with(
    ...queries: Parameters<BetterSQLite3Database<Tables>["with"]>
  ): Pick<ReturnType<BetterSQLite3Database<Tables>["with"]>, "select" | "selectDistinct">;
}

export interface Database<Tables extends Schema> extends AsyncDisposable {
  /** The file's absolute path. */
  readonly file: string;
  /** For queries. It sees what has been committed; inside a transaction, read through `tx`. */
  readonly db: ReadonlyDatabase<Tables>;
  /**
   * Writes without a key: runs `work` in a transaction that shares its commit with others, and is fulfilled
   * with its result once that is durable. When `work` throws, nothing of it is written.
   *
   * Not from within another transaction, whose `tx` is there to write with: the two would wait for each other
   * until the deadline, and neither takes effect.
   *
   * @throws {IdempotencyError} IDEMPOTENCY_STORE_UNAVAILABLE, IDEMPOTENCY_DEADLINE_EXCEEDED
   */
  write<Result>(work: (tx: Transaction<Tables>) => Result | Promise<Result>): Promise<Result>;
  /** Refuses new writes, waits for those in the queue, and closes the file. */
  close(): Promise<void>;
}

/** What the store, and only the store, needs of a database. */
export interface Internals<Tables extends Schema> {
  readonly writer: Writer<Transaction<Tables>>;
  /** Drizzle over the writer's connection, for statements that run inside the writer's transaction. */
  readonly inWriter: BetterSQLite3Database;
  /** The writer's connection, and the read-only one that looks keys up while the writer works. */
  readonly connections: Readonly<Record<"writing" | "finding", Sqlite.Database>>;
  /** Aborted when the database closes. */
  readonly closing: AbortSignal;
}

const internals = new WeakMap<object, Internals<Schema>>();

/** @throws {TypeError} for anything that openDatabase() has not made */
export function internalsOf<Tables extends Schema>(database: Database<Tables>): Internals<Tables> {
  const found = internals.get(database);
  // `as`: a database's internals have been made for its own schema
  if (found) return found as unknown as Internals<Tables>;
  throw new TypeError("sqliteStore() requires a database that openDatabase() returned.");
}

const knownOptions: readonly (keyof DatabaseOptions<never>)[] = [
  "schema",
  "casing",
  "logger",
  "migrationsFolder",
  "configure",
  "synchronous",
  "maxBatch",
  "maxBatchMs",
  "maxQueue",
  "lockWaitMs",
  "deadlineMs",
];

/**
 * Opens an SQLite file in WAL mode: one connection that writes, one that reads for queries, and one that looks
 * keys up.
 *
 * The writer is reached only through transactions that begin and end by themselves, so a write outside of
 * one is impossible. Without a file name the database is a temporary file that close() removes.
 *
 * @throws {Error} that says in one line why the file can't be used
 */
export function openDatabase<Tables extends Schema>(
  file: string | undefined,
  options: DatabaseOptions<Tables>,
): Database<Tables> {
  check(file, options);
  const temporary = file === undefined ? mkdtempSync(join(tmpdir(), "graphql-idempotent-")) : undefined;
  const path = resolve(file ?? join(temporary as string, "temporary.db")); // `as`: one of the two is there
  const connections: Sqlite.Database[] = [];
  function closeFile(): void {
    // The writer last: the last connection moves the log into the file and removes it, which a reader can't.
    for (const connection of connections.toReversed()) connection.close();
    if (temporary) rmSync(temporary, { recursive: true, force: true });
  }
  function openReading(): Sqlite.Database {
    const connection = new Sqlite(path, { readonly: true, timeout: 100 });
    connections.push(connection);
    prepareConnection(connection, options);
    return connection;
  }
  try {
    const writing = new Sqlite(path);
    connections.push(writing);
    prepareConnection(writing, options);
    if (options.migrationsFolder !== undefined) migrateApart(path, options.migrationsFolder, options);
    // From here on, locks of other processes are waited for without blocking the event loop.
    writing.pragma("busy_timeout = 0");
    const [reading, finding] = [openReading(), openReading()];
    return assemble(path, { writing, reading, finding }, closeFile, options);
  } catch (cause) {
    closeFile();
    throw new Error(`The database file ${path} can't be used: ${reasonOf(cause)}`, { cause });
  }
}

/** On a connection of its own, whose settings a migration may change. */
function migrateApart<Tables extends Schema>(
  path: string,
  migrationsFolder: string,
  options: DatabaseOptions<Tables>,
): void {
  const connection = new Sqlite(path);
  try {
    prepareConnection(connection, options);
    migrate(connection, migrationsFolder);
  } finally {
    connection.close();
  }
}

const levels = ["OFF", "NORMAL", "FULL", "EXTRA"] as const;

function check<Tables extends Schema>(file: string | undefined, options: DatabaseOptions<Tables>): void {
  const caller = "openDatabase";
  if (file !== undefined && typeof file !== "string") {
    throw new TypeError(
      `openDatabase() requires a file's path, or undefined, but received ${inspect(file)}.`,
    );
  }
  if (file?.startsWith("file:")) {
    throw new TypeError(`openDatabase() requires a file's path, but received the URL ${inspect(file)}.`);
  }
  if (file === "" || file === ":memory:") {
    throw new TypeError(
      `openDatabase() keeps several connections to one file, which "${file}" can't give. Pass undefined for a temporary file.`,
    );
  }
  checkOptions(caller, options, knownOptions);
  if (typeof options.schema !== "object" || options.schema === null) {
    throw new TypeError(
      `openDatabase() requires a schema: the exports of the file that defines the tables, but it is ${inspect(options.schema)}.`,
    );
  }
  const isLevel = (value: unknown) => levels.some((level) => level === value);
  checkOption(caller, options, "synchronous", `one of ${levels.join(", ")}`, isLevel);
  checkOption(caller, options, "migrationsFolder", "a path", (value) => typeof value === "string");
  checkOption(caller, options, "configure", "a function", isFunction);
  const { maxBatch, maxBatchMs, maxQueue, lockWaitMs, deadlineMs } = options;
  checkPositive(caller, { maxBatch, maxBatchMs, maxQueue, lockWaitMs, deadlineMs });
}

/**
 * Sets what the guarantees rest on, and reads it back: better-sqlite3 is compiled to fall back to
 * synchronous = NORMAL in WAL mode, on each connection that doesn't say otherwise.
 */
function prepareConnection(
  connection: Sqlite.Database,
  options: Pick<DatabaseOptions<Schema>, "configure" | "synchronous">,
): void {
  options.configure?.(connection);
  const level = options.synchronous ?? "FULL";
  // A read-only connection takes the mode that it finds.
  if (!connection.readonly) connection.pragma("journal_mode = WAL");
  connection.pragma(`synchronous = ${level}`);
  connection.pragma("foreign_keys = ON");
  expectPragma(connection, "journal_mode", "wal");
  expectPragma(connection, "synchronous", levels.indexOf(level));
}

function expectPragma(connection: Sqlite.Database, name: string, expected: unknown): void {
  const actual = connection.pragma(name, { simple: true });
  if (actual === expected) return;
  throw new Error(`PRAGMA ${name} should be ${expected}, but stays at ${actual}.`);
}

function assemble<Tables extends Schema>(
  file: string,
  { writing, reading, finding }: Record<"writing" | "reading" | "finding", Sqlite.Database>,
  closeFile: () => void,
  options: DatabaseOptions<Tables>,
): Database<Tables> {
  const { schema, casing, logger } = options;
  const drizzleOptions = { schema, ...(casing && { casing }), ...(logger && { logger }) };
  const writeStatements = new StatementCache(writing);
  const closing = new AbortController();
  const writer = new Writer(writing, transactionFactory(writeStatements, drizzleOptions), options);
  let closed: Promise<void> | undefined;

  function close(): Promise<void> {
    closing.abort();
    closed ??= writer.close().then(closeFile);
    return closed;
  }

  const database: Database<Tables> = {
    file,
    db: drizzle(
      new StatementCache(reading).clientFor(() => {}),
      drizzleOptions,
    ),
    write: (work) => writer.run("write", work),
    close,
    [Symbol.asyncDispose]: close,
  };
  const own: Internals<Tables> = {
    writer,
    inWriter: drizzle(writeStatements.clientFor(() => {})),
    connections: { writing, finding },
    closing: closing.signal,
  };
  internals.set(database, own as unknown as Internals<Schema>); // `as`: see internalsOf()
  return database;
}

/** SQLite's own words, and what to do where that can be said. */
function reasonOf(error: unknown): string {
  if (error instanceof MigrationError) return error.message;
  const root = sqliteErrorIn(error); // of a migration, Drizzle's error has the whole statement
  const code = root?.code ?? "";
  const message = root?.message ?? (error instanceof Error ? error.message : String(error));
  if (code.startsWith("SQLITE_NOTADB"))
    return "it is no SQLite database. Name another file, or move it away.";
  if (code.startsWith("SQLITE_CANTOPEN") || message.includes("directory does not exist")) {
    return "it can't be opened or created. Make its directory, and let this user write to it.";
  }
  if (code.startsWith("SQLITE_READONLY"))
    return "it is read-only. Let this user write to it and to its directory.";
  if (code.startsWith("SQLITE_BUSY")) return "another process holds its lock. Try again when that is done.";
  return message;
}
