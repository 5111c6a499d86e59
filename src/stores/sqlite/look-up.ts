import type Sqlite from "better-sqlite3";
import { and, eq, getTableColumns, gt, isNull, sql } from "drizzle-orm";
import { type BetterSQLite3Database, drizzle } from "drizzle-orm/better-sqlite3";
import { unavailable } from "../../errors.ts";
import type { RecordIdentity, StoredRecord } from "../store.ts";
import { asStoreError, isBusy } from "./faults.ts";
import { idempotencyRecords } from "./table.ts";

interface Wanted {
  readonly identity: RecordIdentity;
  readonly resolve: (record: StoredRecord | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** Finds the live record of an identity, in whatever transaction the connection is in. */
type RecordReader = (identity: RecordIdentity) => StoredRecord | undefined;

function recordReader(connection: Sqlite.Database, now: () => number): RecordReader {
  const lookUp = prepareLookUp(drizzle(connection));

  return function read({ scope, field, key }) {
    const found = lookUp.get({ scope, field, key, now: now() });
    if (!found) return undefined;
    const { fingerprint, resourceId, format, payload, createdAt, expiresAt } = found;
    // Written out, not spread, which costs as much as the look-up itself.
    return { scope, field, key, fingerprint, resourceId, format, payload, createdAt, expiresAt };
  };
}

/** Finds the records of many identities in one read transaction. */
function readerOfMany(connection: Sqlite.Database, read: RecordReader) {
  const begin = connection.prepare("BEGIN");
  const end = connection.prepare("ROLLBACK");

  return function readMany(wanted: readonly Wanted[]): (StoredRecord | undefined)[] {
    begin.run();
    try {
      return wanted.map(({ identity }) => read(identity));
    } finally {
      end.run();
    }
  };
}

/**
 * Looks records up, never behind a write: on the writer's connection while that is idle, since its cache has
 * what was committed last, and else on one of its own.
 *
 * Look-ups of one turn of the event loop share a read transaction, whose locks cost more to take and to give
 * back than a row costs to find. They are answered together: responses to replays then leave in one go, and
 * their receiver is woken once.
 */
export class LookUp {
  /** For the writer's transaction, which looks again before it acts on a miss. */
  readonly findInTransaction: RecordReader;
  readonly #writing: Sqlite.Database;
  readonly #readInWriter: ReturnType<typeof readerOfMany>;
  readonly #readApart: ReturnType<typeof readerOfMany>;
  readonly #checkPlace: () => void;
  readonly #closing: AbortSignal;
  #waiting: Wanted[] = [];

  constructor(
    { writing, finding }: Record<"writing" | "finding", Sqlite.Database>,
    options: { now: () => number; checkPlace: () => void; closing: AbortSignal },
  ) {
    this.findInTransaction = recordReader(writing, options.now);
    this.#writing = writing;
    this.#readInWriter = readerOfMany(writing, this.findInTransaction);
    this.#readApart = readerOfMany(finding, recordReader(finding, options.now));
    this.#checkPlace = options.checkPlace;
    this.#closing = options.closing;
    options.closing.addEventListener("abort", () => this.#answer());
  }

  find(identity: RecordIdentity): Promise<StoredRecord | undefined> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.push({ identity, resolve, reject });
      // While the database closes, there may be no next turn for its connections.
      if (this.#closing.aborted) this.#answer();
      else if (waiting === 1) setImmediate(() => this.#answer());
    });
  }

  #answer(): void {
    const batch = this.#waiting;
    this.#waiting = [];
    if (batch.length === 0) return;
    try {
      const found = this.#readAll(batch);
      for (const [index, { resolve }] of batch.entries()) resolve(found[index]);
    } catch (error) {
      const storeError = this.#closing.aborted
        ? unavailable("The server is shutting down.", error)
        : asStoreError(error);
      for (const { reject } of batch) reject(storeError);
    }
  }

  #readAll(batch: readonly Wanted[]): (StoredRecord | undefined)[] {
    this.#checkPlace();
    try {
      return this.#writing.inTransaction ? this.#readApart(batch) : this.#readInWriter(batch);
    } catch (error) {
      // Another process recovers the file: the transactions will wait for it, and look again.
      if (isBusy(error)) return [];
      throw error;
    }
  }
}

/** Its columns are those that the caller doesn't know: each one costs a look-up its share. */
function prepareLookUp(connection: BetterSQLite3Database) {
  const { scope, field, key, leaseUntil, fencingToken, ...result } = getTableColumns(idempotencyRecords);
  return connection
    .select(result)
    .from(idempotencyRecords)
    .where(
      and(
        eq(scope, sql.placeholder("scope")),
        eq(field, sql.placeholder("field")),
        eq(key, sql.placeholder("key")),
        gt(result.expiresAt, sql.placeholder("now")),
        isNull(leaseUntil),
      ),
    )
    .prepare();
}
