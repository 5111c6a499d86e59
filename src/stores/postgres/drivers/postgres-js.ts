import type { TransactionSql } from "postgres";
import { sqlStateOf } from "../faults.ts";
import type { Watch } from "../watch.ts";
import {
  type Driver,
  type Ending,
  type PostgresJsDatabase,
  type RawRows,
  rowsOf,
  type Schema,
  sessionOver,
} from "./driver.ts";

type Callback = (client: object) => Promise<unknown>;

/**
 * postgres.js keeps BEGIN and COMMIT to itself, and sends what is not awaited without waiting: the closing goes
 * out with its COMMIT, while BEGIN is a round trip more. Its `sql.reserve()` would spare that one, but tells
 * nobody when the connection closes, and the next statement would run on another, outside of any transaction.
 *
 * It offers no way to break one connection, so one whose server says nothing any more keeps its place in the
 * pool until the network gives it up; and it shows warnings to its own `onnotice` only, so the one that node-postgres
 * heeds, of a COMMIT that has not waited for its standby, can't be seen here.
 */
export function postgresJs<Transaction>(db: PostgresJsDatabase<Schema>): Driver<Transaction> {
  const sql = db.$client;

  async function transaction<Result>(
    watch: Watch,
    opening: string,
    mayUndo: boolean,
    work: (tx: Transaction, opened: readonly RawRows[]) => Promise<Ending<Result>>,
  ): Promise<Result> {
    let opened: readonly RawRows[] = [];
    let ending: Ending<Result> | undefined;
    let closing: Promise<unknown> | undefined;
    let failure: { readonly error: unknown } | undefined;

    function note(error: unknown): void {
      if (isLostConnection(error)) watch.lose(error);
      watch.note(error);
    }

    /**
     * When a callback ends, postgres.js (3.4.9) sends COMMIT or ROLLBACK also to a connection that has closed
     * meanwhile: that ends the process, or reaches somebody else's transaction on the new connection
     * (github.com/porsager/postgres/issues/1208 and 1216). So a callback that has lost its connection never
     * ends; begin() is rejected by the connection's own end.
     */
    async function unlessLost<Value>(callback: Promise<Value>): Promise<Value> {
      try {
        return await callback;
      } finally {
        if (watch.lost !== undefined) await new Promise(() => {});
      }
    }

    /** What Drizzle takes for the connection of a transaction. */
    function watched(client: TransactionSql): object {
      return {
        options: sql.options,
        unsafe: (text: string, ...rest: never[]) => {
          watch.check(text);
          const query = client.unsafe(text, ...rest);
          query.catch(note);
          return query;
        },
        savepoint: (nested: Callback) => {
          watch.check("");
          return client.savepoint((inner) => unlessLost(nested(watched(inner))));
        },
      };
    }

    async function run(client: TransactionSql, callback: Callback): Promise<void> {
      if (!mayUndo) {
        await callback(watched(client));
        return;
      }
      const undone = new Error("Its writes are undone.");
      const isolated = client.savepoint(async (inner) => {
        await unlessLost(callback(watched(inner)));
        if (ending?.undo) throw undone;
      });
      await isolated.catch((error: unknown) => {
        if (error !== undone) throw error;
      });
    }

    async function inTransaction(client: TransactionSql, callback: Callback): Promise<void> {
      try {
        watch.check(""); // it may have waited for a connection for too long
        const results = client.unsafe(opening);
        results.catch(note);
        opened = rowsOf(await results);
        await run(client, callback);
      } catch (error) {
        failure = { error };
        throw error;
      } finally {
        watch.end();
      }
      if (!ending?.closing || watch.lost !== undefined) return;
      closing = client.unsafe(ending.closing).execute();
      closing.catch(() => {}); // its failure is looked at below, after that of the COMMIT
    }

    /** Whatever fails outside of the work, but by its SQL, leaves unknown what the server has done. */
    function noteControl(error: unknown): void {
      if (error === failure?.error) return;
      if (sqlStateOf(error) === undefined) watch.lose(error);
      watch.note(error);
    }

    function begin(callback: Callback): Promise<unknown> {
      return sql.begin("isolation level read committed", (client) =>
        unlessLost(inTransaction(client, callback)),
      );
    }

    try {
      await sessionOver(db, { begin }).transaction(async (tx: Transaction) => {
        ending = await work(tx, opened);
      });
      await closing; // it was answered before the COMMIT
      return (ending as unknown as Ending<Result>).result; // `as`: the work is done
    } catch (error) {
      noteControl(error);
      throw error;
    } finally {
      watch.end();
    }
  }

  return { transaction };
}

/** The socket's errors have a number, postgres.js's own about connections a name. */
function isLostConnection(error: unknown): boolean {
  if (!(error instanceof Error) || !("code" in error)) return false;
  return "errno" in error || /^CONNECT/.test(String(error.code));
}
