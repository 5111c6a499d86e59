import { and, eq, gte, sql } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import type { CustomerContext, IdempotentContext, ShopTransaction } from "./context.ts";
import { badUserInput, insufficientFunds, notFound } from "./errors.ts";
import type { Money } from "./money.ts";
import { type Account, accounts, type Transfer, transfers } from "./tables.ts";

interface TransferFundsInput {
  readonly fromAccountId: string;
  readonly toAccountId: string;
  readonly amount: number;
}

export const transferResolvers = {
  Mutation: {
    transferFunds(
      _root: unknown,
      { input: { fromAccountId, toAccountId, amount } }: { input: TransferFundsInput },
      { customer, tx }: IdempotentContext,
    ): Transfer {
      if (amount < 1) throw badUserInput(`\`amount\` must be 1 or more, but it is ${amount}.`);
      const from = accountById(tx, fromAccountId);
      if (from?.customerId !== customer.id) throw notFound("account", fromAccountId);
      const to = accountById(tx, toAccountId);
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
      moveMoney(tx, from, to, amount);
      const createdAt = new Date().toISOString();
      const transfer: Transfer = { id: uuidv7(), fromAccountId, toAccountId, amount, currency, createdAt };
      tx.insert(transfers).values(transfer).run();
      return transfer;
    },
  },

  Transfer: {
    from({ fromAccountId }: Transfer, _args: unknown, { database }: CustomerContext): Account | undefined {
      return accountById(database.db, fromAccountId);
    },

    to({ toAccountId }: Transfer, _args: unknown, { database }: CustomerContext): Account | undefined {
      return accountById(database.db, toAccountId);
    },

    amount({ amount, currency }: Transfer): Money {
      return { amount, currency };
    },
  },
};

function accountById(reading: Pick<ShopTransaction, "select">, id: string): Account | undefined {
  return reading.select().from(accounts).where(eq(accounts.id, id)).get();
}

/** The balance is checked by the statement that lowers it. */
function moveMoney(tx: ShopTransaction, from: Account, to: Account, amount: number): void {
  const { changes } = tx
    .update(accounts)
    .set({ balance: sql`${accounts.balance} - ${amount}` })
    .where(and(eq(accounts.id, from.id), gte(accounts.balance, amount)))
    .run();
  if (changes === 0) throw insufficientFunds(amount, from.currency);
  tx.update(accounts)
    .set({ balance: sql`${accounts.balance} + ${amount}` })
    .where(eq(accounts.id, to.id))
    .run();
}
