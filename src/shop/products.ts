import { asc, eq, gt } from "drizzle-orm";
import type { Product, ShopDatabase } from "./database.ts";
import { notFound } from "./errors.ts";
import type { Money } from "./money.ts";
import { type PageArguments, pageOf } from "./page.ts";

export function productResolvers({ db, tables: { products } }: ShopDatabase) {
  return {
    Query: {
      async products(_root: unknown, page: PageArguments): Promise<Product[]> {
        const { limit, after } = pageOf(page);
        return db
          .select()
          .from(products)
          .where(gt(products.id, after))
          .orderBy(asc(products.id))
          .limit(limit);
      },

      async product(_root: unknown, { id }: { id: string }): Promise<Product> {
        const [product] = await db.select().from(products).where(eq(products.id, id));
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
}
