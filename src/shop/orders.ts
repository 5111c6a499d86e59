import { and, asc, eq, gt } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import type { CustomerContext, IdempotentContext } from "./context.ts";
import type { Order, Product, ShopDatabase } from "./database.ts";
import { badUserInput, notFound } from "./errors.ts";
import { type Money, maxAmount } from "./money.ts";
import { type PageArguments, pageOf } from "./page.ts";
import { returnStock, takeStock } from "./stock.ts";

interface CreateOrderInput {
  readonly productId: string;
  readonly quantity: number;
  readonly note?: string | null;
}

export function orderResolvers({ db, store, tables: { orders, products } }: ShopDatabase) {
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
        const { price, currency } = await takeStock(tx, products, productId, quantity);
        const total = totalOf(price, quantity);
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

      /** Needs no key: the order's status tells whether the stock has been returned. */
      cancelOrder(_root: unknown, { id }: { id: string }, { customer }: CustomerContext): Promise<Order> {
        return store.write(async (tx) => {
          const [order] = await tx.select().from(orders).where(eq(orders.id, id));
          if (order?.customerId !== customer.id) throw notFound("order", id);
          const [cancelled] = await tx
            .update(orders)
            .set({ status: "CANCELLED" })
            .where(and(eq(orders.id, id), eq(orders.status, "PLACED")))
            .returning();
          if (!cancelled) return { ...order, status: "CANCELLED" }; // cancelled before, or by a concurrent call
          await returnStock(tx, products, order.productId, order.quantity);
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

function totalOf(price: number, quantity: number): number {
  const total = price * quantity;
  if (total <= maxAmount) return total;
  throw badUserInput(`An order's total is at most ${maxAmount}, but this one's is ${total}. Order fewer.`);
}
