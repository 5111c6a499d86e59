import { AsyncResource } from "node:async_hooks";
import { realpathSync } from "node:fs";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type Sqlite from "better-sqlite3";
import { isIdempotencyError, unavailable } from "../../errors.ts";
import { Deadline, isDeadline } from "./deadline.ts";
import { asStoreError, isBusy } from "./faults.ts";
import { fileIdentity } from "./file-identity.ts";
import { type Job, Queue } from "./queue.ts";
import { currentCall, type RunningCall, refuseNesting, runAsCall } from "./running-call.ts";
import type { Guard } from "./statements.ts";

export interface WriterOptions {
  /** Most calls that share one commit. @default 256 */
  readonly maxBatch?: number;
  /** How long a batch gathers calls, and runs before it takes no further one, in milliseconds each. @default 10 */
  readonly maxBatchMs?: number;
  /** Most calls that wait; one more is refused with IDEMPOTENCY_STORE_UNAVAILABLE. @default 10_000 */
  readonly maxQueue?: number;
  /** How long calls wait for a lock that another process holds, in milliseconds. @default 5_000 */
  readonly lockWaitMs?: number;
  /** How long one call may take, in milliseconds, before it is rolled back. @default 10_000 */
  readonly deadlineMs?: number;
}

/** A call that has run and waits for its batch to commit. */
type Ran<Transaction> =
  | { readonly kind: "done"; readonly job: Job<Transaction>; readonly value: unknown }
  | { readonly kind: "failed"; readonly job: Job<Transaction>; readonly error: unknown };

/**
 * The one writer of a database file in this process: group commit.
 *
 * idle → gathered → [ locked → calls, each in a savepoint → committed → answered ] → gathered or idle
 *
 * - A call runs alone: it has the connection from its savepoint to its release, whatever it awaits in between.
 * - A call runs in the async context in which it was made, whichever call's context the loop was started in.
 * - A call that throws rolls its savepoint back, without effect on its neighbours in the batch.
 * - A slow call delays the commit of its neighbours, so calls with its label run in batches of their own until
 *   one is fast again.
 * - A call that runs past its deadline is rolled back, and the calls queued during it are refused.
 * - No result is returned before the commit that made it durable. When SQLite rolls the transaction back by
 *   itself (a full disk, an I/O error: sqlite.org/lang_transaction.html, section 2.4), or the commit fails,
 *   every call of the batch fails with IDEMPOTENCY_STORE_UNAVAILABLE, and none has taken effect.
 */
export class Writer<Transaction> {
  readonly #connection: Sqlite.Database;
  readonly #openTransaction: (guard: Guard) => Transaction;
  readonly #options: Required<WriterOptions>;
  readonly #control: Record<"begin" | "commit" | "rollback" | "save" | "undo" | "release", Sqlite.Statement>;
  readonly #deadline: Deadline;
  /** Labels of calls whose latest run took longer than a batch may, or whose batch could not commit. */
  readonly #runAlone = new Set<string>();
  readonly #file: string;
  readonly #isSameFile: () => boolean;
  #isMoved = false;
  readonly #queue: Queue<Transaction>;
  #draining: Promise<void> | undefined;
  #isClosed = false;

  constructor(
    connection: Sqlite.Database,
    openTransaction: (guard: Guard) => Transaction,
    {
      maxBatch = 256,
      maxBatchMs = 10,
      maxQueue = 10_000,
      lockWaitMs = 5_000,
      deadlineMs = 10_000,
    }: WriterOptions,
  ) {
    this.#connection = connection;
    this.#openTransaction = openTransaction;
    this.#options = { maxBatch, maxBatchMs, maxQueue, lockWaitMs, deadlineMs };
    this.#queue = new Queue(maxQueue);
    this.#deadline = new Deadline(deadlineMs);
    this.#file = realpathSync(connection.name);
    this.#isSameFile = fileIdentity(connection.name);
    this.#control = {
      begin: connection.prepare("BEGIN IMMEDIATE"),
      commit: connection.prepare("COMMIT"),
      rollback: connection.prepare("ROLLBACK"),
      save: connection.prepare("SAVEPOINT idempotent_call"),
      undo: connection.prepare("ROLLBACK TO idempotent_call"),
      release: connection.prepare("RELEASE idempotent_call"),
    };
  }

  /**
   * Queues a call. `work` runs in its transaction; `finish`, if given, gets what it returned and runs in the
   * same transaction without awaiting anything, and `undo()` in it takes back all writes of the call so far.
   * The promise settles after the commit.
   *
   * @param label what kind of call it is; calls of a kind that was slow share no commit with others
   */
  run<Value, Result = Value>(
    label: string,
    work: (tx: Transaction) => Value | Promise<Value>,
    finish?: (value: Value, undo: () => void) => Result,
  ): Promise<Result> {
    if (this.#isClosed) return Promise.reject(unavailable("The server is shutting down."));
    if (this.#queue.isFull) {
      return Promise.reject(unavailable("The server has more calls waiting than it can take."));
    }
    // Hundreds of times as cheap as AsyncLocalStorage.snapshot() on Node 20.
    const context = new AsyncResource("graphql-idempotent.call");
    return new Promise<Result>((resolve, reject) => {
      this.refuseNesting();
      // `as`: the queue holds calls of all types; each call's own parts fit each other
      this.#queue.push({
        label,
        work,
        finish: finish ?? keep,
        inContext: (run) => context.runInAsyncScope(run),
        outer: currentCall(),
        resolve,
        reject,
        queuedAt: performance.now(),
      } as Job<Transaction>);
      this.#draining ??= this.#drain();
    });
  }

  /**
   * Throws if the database file has been moved or deleted, so we never answer from a file that no other process
   * can open. It looks only after a commit has noticed that: until then everything readable is in the right file.
   */
  checkFile(): void {
    if (!this.#isMoved) return;
    this.#isMoved = !this.#isSameFile();
    if (this.#isMoved) throw fileMoved();
  }

  /** @throws {Error} inside a transaction of the same file, where another one would wait for itself */
  refuseNesting(): void {
    refuseNesting(this.#file);
  }

  /** Takes no further call, and is fulfilled when those in the queue have been answered. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#draining;
    this.#deadline.clear();
  }

  async #drain(): Promise<void> {
    do {
      try {
        await this.#gather();
        if (await this.#lock()) await this.#batch();
      } catch (error) {
        // Nothing of this kind is known. Should there be one, no call may wait for ever, and none has committed.
        this.#rollback();
        this.#queue.refuse(this.#queue.length, asUnavailable(error));
      }
    } while (this.#queue.length > 0);
    this.#draining = undefined;
  }

  /** Waits as long as each turn of the event loop brings more calls, which then share the commit. */
  async #gather(): Promise<void> {
    const { maxBatch, maxBatchMs } = this.#options;
    const until = performance.now() + maxBatchMs;
    let waiting: number;
    do {
      waiting = this.#queue.length;
      await nextTurn();
    } while (this.#queue.length > waiting && waiting < maxBatch && performance.now() < until);
  }

  /** Takes the write lock. Another process's lock is waited for without blocking the event loop. */
  async #lock(): Promise<boolean> {
    for (let pauseMs = 1; this.#queue.length > 0; pauseMs = Math.min(pauseMs * 2, 32)) {
      try {
        this.checkFile();
        this.#rollback(); // what could not be rolled back before
        this.#control.begin.run();
        return true;
      } catch (error) {
        if (isBusy(error)) this.#queue.refuseOverdue(this.#options.lockWaitMs, error);
        else this.#queue.refuse(this.#queue.length, asUnavailable(error));
      }
      await sleep(pauseMs * (0.5 + Math.random()));
    }
    return false;
  }

  async #batch(): Promise<void> {
    const { maxBatch, maxBatchMs } = this.#options;
    const until = performance.now() + maxBatchMs;
    const batch: Ran<Transaction>[] = [];
    let taken = 0;
    do {
      // `as`: the loop's condition has checked that the queue has one more
      const job = this.#queue.at(taken++) as Job<Transaction>;
      batch.push(await this.#call(job));
    } while (
      this.#connection.inTransaction &&
      taken < this.#queue.length &&
      taken < maxBatch &&
      performance.now() < until &&
      !this.#runAlone.has((this.#queue.at(taken) as Job<Transaction>).label)
    );
    this.#queue.remove(taken);
    this.#deadline.rest();
    const fault = this.#commit(batch);
    for (const ran of batch) {
      if (ran.kind === "failed") ran.job.reject(fault && batch.length > 1 ? fault : ran.error);
      else if (fault) ran.job.reject(fault);
      else ran.job.resolve(ran.value);
    }
  }

  async #call(job: Job<Transaction>): Promise<Ran<Transaction>> {
    const startedAt = performance.now();
    const running: RunningCall = { file: this.#file, isOver: false, outer: job.outer };
    const guard = (): void => {
      if (running.isOver)
        throw new Error("This transaction is over: a call must await all that it does with `tx`.");
      // Without this check, statements after SQLite's own rollback would each commit by themselves.
      if (!this.#connection.inTransaction) throw unavailable("The transaction was rolled back.");
    };
    try {
      this.#control.save.run();
      const tx = this.#openTransaction(guard);
      const work = () => this.#deadline.within(job.work(tx));
      const value = await job.inContext(() => runAsCall(running, work));
      guard();
      const result = job.inContext(() => job.finish(value, () => this.#control.undo.run()));
      this.#control.release.run();
      return { kind: "done", job, value: result };
    } catch (error) {
      this.#undoCall();
      if (isDeadline(error)) this.#queue.refuseSince(startedAt);
      return { kind: "failed", job, error: asStoreError(error) };
    } finally {
      running.isOver = true;
      if (performance.now() - startedAt > this.#options.maxBatchMs) this.#runAlone.add(job.label);
      else this.#runAlone.delete(job.label);
    }
  }

  #undoCall(): void {
    if (!this.#connection.inTransaction) return;
    try {
      this.#control.undo.run();
      this.#control.release.run();
    } catch {
      this.#rollback(); // a savepoint that can't be undone must not commit
    }
  }

  /** Commits the batch, or returns the error that prevented it. */
  #commit(batch: readonly Ran<Transaction>[]): unknown {
    if (!this.#connection.inTransaction) {
      this.#runAlone.add((batch.at(-1) as Ran<Transaction>).job.label); // `as`: a batch has at least one call
      return unavailable("The transaction was rolled back.");
    }
    try {
      this.#control.commit.run();
      this.#isMoved = !this.#isSameFile();
      return this.#isMoved ? fileMoved() : undefined;
    } catch (error) {
      this.#rollback();
      if (batch.length === 1) return asStoreError(error);
      // One of them may be to blame, by a constraint that is checked at the commit. It will fail alone.
      for (const { job } of batch) this.#runAlone.add(job.label);
      return unavailable("The transaction could not be committed.", error);
    }
  }

  #rollback(): void {
    if (!this.#connection.inTransaction) return;
    try {
      this.#control.rollback.run();
    } catch {
      // The transaction stays open and takes no further call; the next batch tries again before it begins.
    }
  }
}

function asUnavailable(error: unknown): Error {
  return isIdempotencyError(error) ? error : unavailable("The database can't be used right now.", error);
}

function fileMoved(): Error {
  return unavailable("The database file is not where it was opened.");
}

function keep<Value>(value: Value): Value {
  return value;
}
