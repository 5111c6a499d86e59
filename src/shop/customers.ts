import { eq } from "drizzle-orm";
import type { CustomerContext } from "./context.ts";
import { badUserInput, notFound } from "./errors.ts";
import type { Money } from "./money.ts";
import { type Account, accounts, type Customer, customers } from "./tables.ts";

export const customerResolvers = {
  Query: {
    viewer(_root: unknown, _args: unknown, { customer }: CustomerContext): Customer {
      return customer;
    },

    account(_root: unknown, { id }: { id: string }, { customer, database }: CustomerContext): Account {
      const account = database.db.select().from(accounts).where(eq(accounts.id, id)).get();
      if (account?.customerId !== customer.id) throw notFound("account", id);
      return account;
    },
  },

  Mutation: {
    /** Without a key: whoever sets an address twice has set it. */
    updateAddress(
      _root: unknown,
      { address }: { address: string },
      { customer, database }: CustomerContext,
    ): Promise<Customer> {
      if (address.trim() === "" || address.length > 500) {
        throw badUserInput(
          `An address has 1 to 500 characters, not all of them spaces, but this has ${address.length}.`,
        );
      }
      return database.write((tx) =>
        tx.update(customers).set({ address }).where(eq(customers.id, customer.id)).returning().get(),
      );
    },
  },

  Customer: {
    accounts(customer: Customer, _args: unknown, { database }: CustomerContext): Account[] {
      return database.db.select().from(accounts).where(eq(accounts.customerId, customer.id)).all();
    },
  },

  Account: {
    /** A transfer leads to accounts of other customers, whose balance is their own affair. */
    balance(account: Account, _args: unknown, { customer }: CustomerContext): Money | null {
      if (account.customerId !== customer.id) return null;
      return { amount: account.balance, currency: account.currency };
    },
  },
};
