import type Sqlite from "better-sqlite3";
import { unavailable } from "../../errors.ts";
import { liveRecord } from "../row.ts";
import type { RecordIdentity, StoredRecord } from "../store.ts";
import { asStoreError, isBusy } from "./faults.ts";
import type { Rows } from "./rows.ts";

interface WaitingLookUp {
  readonly identity: RecordIdentity;
  /** Read in the caller's own async context: a clock may depend on it. */
  readonly now: number;
  readonly resolve: (record: StoredRecord | undefined) => void;
  readonly reject: (error: unknown) => void;
}

type BatchReader = (batch: readonly WaitingLookUp[]) => (StoredRecord | undefined)[];

/** Reads the live records of a batch in one read transaction. */
function batchReader(connection: Sqlite.Database, read: Rows["read"]): BatchReader {
  const begin = connection.prepare("BEGIN");
  const end = connection.prepare("ROLLBACK");

  return function readBatch(batch) {
    begin.run();
    try {
      return batch.map(({ identity, now }) => liveRecord(read(identity), now));
    } finally {
      end.run();
    }
  };
}

/**
 * Looks records up without ever waiting for a write: on the writer's connection while that is idle, since its
 * cache holds the latest commits, otherwise on a connection of its own.
 *
 * Look-ups of one turn of the event loop share a read transaction, because its locks cost more than finding a
 * row. They are answered together: the responses to replays then leave in one go, and wake their receiver once.
 */
export class LookUp {
  readonly #writing: Sqlite.Database;
  readonly #readInWriter: BatchReader;
  readonly #readApart: BatchReader;
  readonly #now: () => number;
  readonly #checkFile: () => void;
  readonly #closing: AbortSignal;
  #waiting: WaitingLookUp[] = [];

  constructor(
    readers: Record<"inWriter" | "apart", Rows["read"]>,
    { writing, finding }: Record<"writing" | "finding", Sqlite.Database>,
    options: { now: () => number; checkFile: () => void; closing: AbortSignal },
  ) {
    this.#writing = writing;
    this.#readInWriter = batchReader(writing, readers.inWriter);
    this.#readApart = batchReader(finding, readers.apart);
    this.#now = options.now;
    this.#checkFile = options.checkFile;
    this.#closing = options.closing;
    options.closing.addEventListener("abort", () => this.#answer());
  }

  find(identity: RecordIdentity): Promise<StoredRecord | undefined> {
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.push({ identity, now: this.#now(), resolve, reject });
      // The connections of a closing database may not live until the next turn.
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

  #readAll(batch: readonly WaitingLookUp[]): (StoredRecord | undefined)[] {
    this.#checkFile();
    try {
      return this.#writing.inTransaction ? this.#readApart(batch) : this.#readInWriter(batch);
    } catch (error) {
      // Another process is recovering the file. The transactions wait for that, and look again.
      if (isBusy(error)) return [];
      throw error;
    }
  }
}
