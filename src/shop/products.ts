import { asc, eq, gt } from "drizzle-orm";
import type { CustomerContext } from "./context.ts";
import { notFound } from "./errors.ts";
import type { Money } from "./money.ts";
import { type PageArguments, pageOf } from "./page.ts";
import { type Product, products } from "./tables.ts";

export const productResolvers = {
  Query: {
    products(_root: unknown, page: PageArguments, { database }: CustomerContext): Product[] {
      const { limit, after } = pageOf(page);
      return database.db
        .select()
        .from(products)
        .where(gt(products.id, after))
        .orderBy(asc(products.id))
        .limit(limit)
        .all();
    },

    product(_root: unknown, { id }: { id: string }, { database }: CustomerContext): Product {
      const product = database.db.select().from(products).where(eq(products.id, id)).get();
      if (!product) throw notFound("product", id);
      return product;
    },
  },

  Product: {
    price({ price, currency }: Product): Money {
      return { amount: price, currency };
    },
  },
};
