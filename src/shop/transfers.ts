import { and, eq, gte, sql } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import type { IdempotentContext } from "./context.ts";
import type { Account, ShopDatabase, ShopReader, ShopTransaction, Tables, Transfer } from "./database.ts";
import { badUserInput, insufficientFunds, notFound } from "./errors.ts";
import type { Money } from "./money.ts";

interface TransferFundsInput {
  readonly fromAccountId: string;
  readonly toAccountId: string;
  readonly amount: number;
}

export function transferResolvers({ db, tables: { accounts, transfers } }: ShopDatabase) {
  async function accountById(reader: ShopReader, id: string): Promise<Account | undefined> {
    const [account] = await reader.select().from(accounts).where(eq(accounts.id, id));
    return account;
  }

  return {
    Mutation: {
      async transferFunds(
        _root: unknown,
        { input: { fromAccountId, toAccountId, amount } }: { input: TransferFundsInput },
        { customer, tx }: IdempotentContext,
      ): Promise<Transfer> {
        if (amount < 1) throw badUserInput(`\`amount\` must be 1 or more, but it is ${amount}.`);
        const from = await accountById(tx, fromAccountId);
        if (from?.customerId !== customer.id) throw notFound("account", fromAccountId);
        const to = await accountById(tx, toAccountId);
        if (!to) throw notFound("account", toAccountId);
        if (from.id === to.id) {
          throw badUserInput("A transfer goes from one account to another, but both are the same.");
        }
        const { currency } = from;
        if (currency !== to.currency) {
          throw badUserInput(
            `Both accounts must have one currency, but one has ${currency} and the other ${to.currency}.`,
          );
        }
        await moveMoney(tx, accounts, from, to, amount);
        const createdAt = new Date().toISOString();
        const transfer: Transfer = { id: uuidv7(), fromAccountId, toAccountId, amount, currency, createdAt };
        await tx.insert(transfers).values(transfer);
        return transfer;
      },
    },

    Transfer: {
      from({ fromAccountId }: Transfer): Promise<Account | undefined> {
        return accountById(db, fromAccountId);
      },

      to({ toAccountId }: Transfer): Promise<Account | undefined> {
        return accountById(db, toAccountId);
      },

      amount({ amount, currency }: Transfer): Money {
        return { amount, currency };
      },
    },
  };
}

/** Checks the balance in the statement that lowers it. */
async function moveMoney(
  tx: ShopTransaction,
  accounts: Tables["accounts"],
  from: Account,
  to: Account,
  amount: number,
): Promise<void> {
  async function take(): Promise<void> {
    const taken = await tx
      .update(accounts)
      .set({ balance: sql`${accounts.balance} - ${amount}` })
      .where(and(eq(accounts.id, from.id), gte(accounts.balance, amount)))
      .returning({ id: accounts.id });
    if (taken.length === 0) throw insufficientFunds(amount, from.currency);
  }
  async function give(): Promise<void> {
    await tx
      .update(accounts)
      .set({ balance: sql`${accounts.balance} + ${amount}` })
      .where(eq(accounts.id, to.id));
  }
  // Lock rows in the order of their IDs: two concurrent transfers in opposite directions would deadlock on
  // PostgreSQL otherwise.
  for (const move of from.id < to.id ? [take, give] : [give, take]) await move();
}
