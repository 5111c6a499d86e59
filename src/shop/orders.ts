import { and, asc, eq, gt, gte, sql } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import type { CustomerContext, IdempotentContext } from "./context.ts";
import type { Order, Product, ShopDatabase, ShopTransaction } from "./database.ts";
import { badUserInput, notFound, outOfStock, type ShopError } from "./errors.ts";
import { type Money, maxAmount } from "./money.ts";
import { type PageArguments, pageOf } from "./page.ts";

interface CreateOrderInput {
  readonly productId: string;
  readonly quantity: number;
  readonly note?: string | null;
}

export function orderResolvers({ db, store, tables: { orders, products } }: ShopDatabase) {
  /** Checks the stock and takes from it in one statement. */
  async function takeStock(tx: ShopTransaction, productId: string, quantity: number) {
    const [taken] = await tx
      .update(products)
      .set({ stock: sql`${products.stock} - ${quantity}` })
      .where(and(eq(products.id, productId), gte(products.stock, quantity)))
      .returning({ price: products.price, currency: products.currency });
    if (!taken) throw await refusal(tx, productId, quantity);
    return taken;
  }

  async function refusal(tx: ShopTransaction, productId: string, quantity: number): Promise<ShopError> {
    const [product] = await tx.select().from(products).where(eq(products.id, productId));
    return product ? outOfStock(quantity, product.stock) : notFound("product", productId);
  }

  return {
    Query: {
      async orders(_root: unknown, page: PageArguments, { customer }: CustomerContext): Promise<Order[]> {
        const { limit, after } = pageOf(page);
        return db
          .select()
          .from(orders)
          .where(and(eq(orders.customerId, customer.id), gt(orders.id, after)))
          .orderBy(asc(orders.id))
          .limit(limit);
      },

      async order(_root: unknown, { id }: { id: string }, { customer }: CustomerContext): Promise<Order> {
        const [order] = await db.select().from(orders).where(eq(orders.id, id));
        if (order?.customerId !== customer.id) throw notFound("order", id);
        return order;
      },
    },

    Mutation: {
      async createOrder(
        _root: unknown,
        { input: { productId, quantity, note = null } }: { input: CreateOrderInput },
        { customer, tx }: IdempotentContext,
      ): Promise<Order> {
        if (quantity < 1) throw badUserInput(`\`quantity\` must be 1 or more, but it is ${quantity}.`);
        const { price, currency } = await takeStock(tx, productId, quantity);
        const total = price * quantity;
        if (total > maxAmount) {
          throw badUserInput(
            `An order's total is at most ${maxAmount}, but this one's is ${total}. Order fewer.`,
          );
        }
        const order: Order = {
          id: uuidv7(),
          customerId: customer.id,
          productId,
          quantity,
          note,
          total,
          currency,
          status: "PLACED",
          createdAt: new Date().toISOString(),
        };
        await tx.insert(orders).values(order);
        return order;
      },

      /** Without a key: the order's state says whether the stock has been given back. */
      cancelOrder(_root: unknown, { id }: { id: string }, { customer }: CustomerContext): Promise<Order> {
        return store.write(async (tx) => {
          const [order] = await tx.select().from(orders).where(eq(orders.id, id));
          if (order?.customerId !== customer.id) throw notFound("order", id);
          const [cancelled] = await tx
            .update(orders)
            .set({ status: "CANCELLED" })
            .where(and(eq(orders.id, id), eq(orders.status, "PLACED")))
            .returning();
          if (!cancelled) return { ...order, status: "CANCELLED" }; // it was before, or by another call meanwhile
          await tx
            .update(products)
            .set({ stock: sql`${products.stock} + ${order.quantity}` })
            .where(eq(products.id, order.productId));
          return cancelled;
        });
      },
    },

    Order: {
      async product({ productId }: Order): Promise<Product | undefined> {
        const [product] = await db.select().from(products).where(eq(products.id, productId));
        return product;
      },

      total({ total, currency }: Order): Money {
        return { amount: total, currency };
      },
    },
  };
}
