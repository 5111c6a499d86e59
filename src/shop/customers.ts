import { eq } from "drizzle-orm";
import type { CustomerContext } from "./context.ts";
import type { Account, Customer, ShopDatabase } from "./database.ts";
import { badUserInput, notFound } from "./errors.ts";
import type { Money } from "./money.ts";

export function customerResolvers({ db, store, tables: { accounts, customers } }: ShopDatabase) {
  return {
    Query: {
      viewer(_root: unknown, _args: unknown, { customer }: CustomerContext): Customer {
        return customer;
      },

      async account(_root: unknown, { id }: { id: string }, { customer }: CustomerContext): Promise<Account> {
        const [account] = await db.select().from(accounts).where(eq(accounts.id, id));
        if (account?.customerId !== customer.id) throw notFound("account", id);
        return account;
      },
    },

    Mutation: {
      /** Needs no key: setting an address twice has the effect of setting it once. */
      async updateAddress(
        _root: unknown,
        { address }: { address: string },
        { customer }: CustomerContext,
      ): Promise<Customer | undefined> {
        if (address.trim() === "" || address.length > 500) {
          throw badUserInput(
            `An address has 1 to 500 characters, not all of them spaces, but this has ${address.length}.`,
          );
        }
        const [updated] = await store.write(async (tx) =>
          tx.update(customers).set({ address }).where(eq(customers.id, customer.id)).returning(),
        );
        return updated;
      },
    },

    Customer: {
      async accounts(customer: Customer): Promise<Account[]> {
        return db.select().from(accounts).where(eq(accounts.customerId, customer.id)).orderBy(accounts.id);
      },
    },

    Account: {
      /** A transfer exposes accounts of other customers, whose balance stays private. */
      balance(account: Account, _args: unknown, { customer }: CustomerContext): Money | null {
        if (account.customerId !== customer.id) return null;
        return { amount: account.balance, currency: account.currency };
      },
    },
  };
}
