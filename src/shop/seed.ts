import { and, eq, isNull, ne, or } from "drizzle-orm";
import type { Account, Product, ShopTransaction, Tables } from "./database.ts";
import { tokenHash } from "./token.ts";

/** Seeded IDs are fixed, so that documentation can name them. */
function seedId(number: number): string {
  return `01990000-0000-7000-8000-${String(number).padStart(12, "0")}`;
}

export const demoCustomers = [
  { id: seedId(1), name: "Alice", address: "1 Orchard Lane, Bristol", token: "alice-token" },
  { id: seedId(2), name: "Bob", address: null, token: "bob-token" },
] as const;

const seedAccounts: Account[] = [
  { id: seedId(11), customerId: seedId(1), balance: 500_000, currency: "EUR" },
  { id: seedId(12), customerId: seedId(1), balance: 20_000, currency: "EUR" },
  { id: seedId(21), customerId: seedId(2), balance: 300_000, currency: "EUR" },
  { id: seedId(22), customerId: seedId(2), balance: 0, currency: "EUR" },
];

/** The product that the printed curl line and GraphiQL order. */
export const demoProduct: Product = {
  id: seedId(101),
  name: "Milk jug",
  price: 1_900,
  currency: "EUR",
  stock: 250,
};

const seedProducts: Product[] = [
  demoProduct,
  { id: seedId(102), name: "Coffee grinder", price: 8_900, currency: "EUR", stock: 40 },
  { id: seedId(103), name: "Espresso machine", price: 64_900, currency: "EUR", stock: 12 },
  { id: seedId(104), name: "Signed cup, the last one", price: 4_500, currency: "EUR", stock: 1 },
  { id: seedId(105), name: "Recipe book, as a file", price: 990, currency: "EUR", stock: 100_000_000 },
];

/**
 * Fills a new database. The demo tokens are valid only with `withDemoTokens`: without it, tokens that an earlier start
 * inserted are removed.
 *
 * It writes only rows that must change, because other servers may be running: on PostgreSQL, INSERT … ON CONFLICT DO
 * NOTHING waits for every open transaction that inserted or changed a conflicting row.
 */
export async function seed(
  tx: ShopTransaction,
  { accounts, customers, products }: Tables,
  withDemoTokens: boolean,
): Promise<void> {
  const [anyCustomer] = await tx.select().from(customers).limit(1);
  if (!anyCustomer) {
    await tx.insert(customers).values(demoCustomers.map(({ id, name, address }) => ({ id, name, address })));
    await tx.insert(accounts).values(seedAccounts);
    await tx.insert(products).values(seedProducts);
  }
  for (const { id, token } of demoCustomers) {
    const hash = tokenHash(token);
    if (withDemoTokens) {
      const hasAnother = or(isNull(customers.tokenHash), ne(customers.tokenHash, hash));
      await tx
        .update(customers)
        .set({ tokenHash: hash })
        .where(and(eq(customers.id, id), hasAnother));
    } else {
      await tx.update(customers).set({ tokenHash: null }).where(eq(customers.tokenHash, hash));
    }
  }
}
