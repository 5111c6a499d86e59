import { fileURLToPath } from "node:url";
import { eq, sql } from "drizzle-orm";
import { GraphQLError } from "graphql";
import { IdempotencyError, once, type Retention, SHARED, type Store } from "graphql-idempotent";
import { type DatabaseOptions, openDatabase, sqliteStore, type Transaction } from "graphql-idempotent/sqlite";
import type { Answer } from "../checks.ts";
import * as tables from "./tables.ts";

/** The smallest application whose books must balance: what attacks that need no server are made on. */
export interface Bank extends AsyncDisposable {
  readonly store: Store<Transaction<typeof tables>>;
  readonly db: ReturnType<typeof openDatabase<typeof tables>>["db"];
  /** Makes a payment once for its key, and tells the answer in one string. */
  pay(payment: Payment): Promise<Answer>;
  close(): Promise<void>;
}

export interface Payment {
  readonly key: string;
  readonly amount: number;
  /** As long as one likes, to fill pages. */
  readonly memo: string;
  readonly retention: Retention;
  /**
   * `made`: the payment happens. `refused`: after its writes it is refused, and that is its result.
   * `broken`: after its writes the code around it fails, so nothing is kept and a retry runs again.
   */
  readonly course: "made" | "refused" | "broken";
}

export interface BankOptions
  extends Pick<
    DatabaseOptions<typeof tables>,
    "synchronous" | "configure" | "maxBatch" | "maxQueue" | "deadlineMs" | "lockWaitMs"
  > {
  readonly now?: () => number;
  /** How long a duplicate waits for the call that runs, in milliseconds. @default 10_000 */
  readonly waitMs?: number;
}

export const openingBalances: ReadonlyMap<string, number> = new Map([
  ["savings", 1_000_000],
  ["shopping", 1_000_000],
]);

const migrationsFolder = fileURLToPath(new URL("migrations", import.meta.url));

/** Opens a bank's file, and makes its tables and accounts if need be. */
export async function openBank(
  file: string,
  { now = Date.now, waitMs = 10_000, ...options }: BankOptions = {},
): Promise<Bank> {
  const database = openDatabase(file, { schema: tables, migrationsFolder, ...options });
  const store = sqliteStore(database, { now, purgeEveryMs: 0 });

  async function pay(payment: Payment): Promise<Answer> {
    const { key, amount, memo, retention } = payment;
    try {
      const { result } = await once(
        store,
        {
          scope: SHARED,
          field: "bank.pay",
          key,
          input: { amount, memo },
          retention,
          waitMs,
          errors: "REPLAY",
        },
        async (tx) => transfer(tx, payment),
      );
      return { key, result: JSON.stringify(result) };
    } catch (error) {
      if (!isRefusal(error)) throw error;
      return { key, result: error.message };
    }
  }

  await database.write((tx) => openAccounts(tx));
  return { store, db: database.db, pay, close: database.close, [Symbol.asyncDispose]: database.close };
}

function openAccounts(tx: Transaction<typeof tables>): void {
  const rows = [...openingBalances].map(([id, balance]) => ({ id, balance }));
  tx.insert(tables.accounts).values(rows).onConflictDoNothing().run();
}

/** Awaits between its writes, as resolvers do, so that a cut or a kill can come between them. */
async function transfer(tx: Transaction<typeof tables>, { key, amount, memo, course }: Payment) {
  const from = amount % 2 === 0 ? "savings" : "shopping";
  const to = amount % 2 === 0 ? "shopping" : "savings";
  const { accounts, transfers } = tables;
  await tx
    .update(accounts)
    .set({ balance: sql`balance - ${amount}` })
    .where(eq(accounts.id, from));
  const [made] = await tx.insert(transfers).values({ key, from, to, amount, memo }).returning();
  await tx
    .update(accounts)
    .set({ balance: sql`balance + ${amount}` })
    .where(eq(accounts.id, to));
  if (course === "broken") throw new Error(`The payment ${key} was meant to break.`);
  // The identity makes a second run of the same payment tell itself apart from the first.
  if (course === "refused") throw new GraphQLError(`refused at ${crypto.randomUUID()}`);
  return made;
}

function isRefusal(error: unknown): error is GraphQLError {
  return error instanceof GraphQLError && !(error instanceof IdempotencyError);
}
