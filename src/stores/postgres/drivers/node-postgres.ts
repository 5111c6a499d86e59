import type { Client, Pool, PoolClient } from "pg";
import { sqlStateOf } from "../faults.ts";
import type { Watch } from "../watch.ts";
import {
  type Driver,
  type Ending,
  type NodePostgresDatabase,
  type RawRows,
  rowsOf,
  type Schema,
  sessionOver,
} from "./driver.ts";

const savepoint = "idempotent_call";

/** What the server says beside its answers, as far as it matters here. */
interface Notice {
  readonly routine?: string | undefined;
  readonly message?: string | undefined;
}

/**
 * node-postgres sends a statement when the one before it has been answered, so each is a round trip. The
 * opening shares that of Drizzle's `begin`, the closing that of its `commit`: a protected call makes no more
 * of them than a plain transaction.
 */
export function nodePostgres<Transaction>(db: NodePostgresDatabase<Schema>): Driver<Transaction> {
  const pool = db.$client;
  // A pooled connection that breaks while nobody uses it is replaced. Node ends a process for an error event
  // that nobody listens to.
  pool.on("error", () => {});

  async function transaction<Result>(
    watch: Watch,
    opening: string,
    mayUndo: boolean,
    work: (tx: Transaction, opened: readonly RawRows[]) => Promise<Ending<Result>>,
  ): Promise<Result> {
    const client = await connect(pool, watch);
    let opened: readonly RawRows[] = [];
    let ending: Ending<Result> | undefined;

    /** A statement of ours: whatever fails in it but its SQL leaves unknown what the server has done. */
    async function control(text: string): Promise<unknown> {
      try {
        return await client.query(text);
      } catch (error) {
        if (sqlStateOf(error) === undefined) watch.lose(error);
        watch.note(error);
        throw error;
      }
    }

    async function begin(): Promise<void> {
      try {
        const text = `BEGIN ISOLATION LEVEL READ COMMITTED; ${opening}${mayUndo ? `; SAVEPOINT ${savepoint}` : ""}`;
        opened = rowsOf(await control(text)).slice(1, mayUndo ? -1 : undefined);
      } catch (error) {
        await rollback();
        throw error;
      }
    }

    async function commit(): Promise<void> {
      const undo = ending?.undo ? `ROLLBACK TO SAVEPOINT ${savepoint}; ` : "";
      await control(`${undo}${ending?.closing ? `${ending.closing}; ` : ""}COMMIT`);
      if (watch.lost !== undefined) throw watch.lost; // see heed()
    }

    /**
     * A COMMIT whose wait for the synchronous standby is cancelled is answered like any other. This warning alone
     * tells (syncrep.c): "The transaction has already committed locally, but might not have been replicated".
     */
    function heed({ routine, message }: Notice): void {
      if (routine === "SyncRepWaitForLSN") watch.lose(new Error(message));
    }

    /** A connection that can't even roll back is not given back. */
    async function rollback(): Promise<void> {
      if (watch.lost === undefined) await client.query("ROLLBACK").catch(watch.lose);
    }

    let phase: "opening" | "working" | "ending" | "over" = "opening";

    /** What Drizzle sends: `begin`, then the resolver's statements, then `commit`, and `rollback` if one of them failed. */
    async function query(config: { readonly text: string }, parameters: unknown[]): Promise<unknown> {
      if (phase === "opening") {
        phase = "working";
        return begin();
      }
      if (phase === "ending" && config.text === "commit") return commit();
      if (phase === "ending" && config.text === "rollback") return rollback();
      watch.check(config.text);
      return client.query(config, parameters).catch((error: unknown) => {
        watch.note(error);
        throw error;
      });
    }

    client.on("error", watch.lose);
    client.on("notice", heed);
    // `as`: a pool's clients can be ended, which with a query under way destroys the socket
    watch.breakConnection = () => void (client as unknown as Client).end();
    try {
      return await sessionOver(db, { query }).transaction(async (tx: Transaction) => {
        try {
          ending = await work(tx, opened);
        } finally {
          watch.end();
          phase = "ending";
        }
        return ending.result;
      });
    } finally {
      watch.end();
      phase = "over";
      client.removeListener("error", watch.lose);
      client.removeListener("notice", heed);
      client.release(watch.lost !== undefined);
    }
  }

  return { transaction };
}

async function connect(pool: Pool, watch: Watch): Promise<PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    watch.lose(error);
    throw error;
  }
}
