import { and, asc, eq, gt, gte, sql } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import type { CustomerContext, IdempotentContext, ShopTransaction } from "./context.ts";
import { badUserInput, notFound, outOfStock, type ShopError } from "./errors.ts";
import { type Money, maxAmount } from "./money.ts";
import { type PageArguments, pageOf } from "./page.ts";
import { type Order, orders, type Product, products } from "./tables.ts";

interface CreateOrderInput {
  readonly productId: string;
  readonly quantity: number;
  readonly note?: string | null;
}

export const orderResolvers = {
  Query: {
    orders(_root: unknown, page: PageArguments, { customer, database }: CustomerContext): Order[] {
      const { limit, after } = pageOf(page);
      return database.db
        .select()
        .from(orders)
        .where(and(eq(orders.customerId, customer.id), gt(orders.id, after)))
        .orderBy(asc(orders.id))
        .limit(limit)
        .all();
    },

    order(_root: unknown, { id }: { id: string }, { customer, database }: CustomerContext): Order {
      const order = database.db.select().from(orders).where(eq(orders.id, id)).get();
      if (order?.customerId !== customer.id) throw notFound("order", id);
      return order;
    },
  },

  Mutation: {
    createOrder(
      _root: unknown,
      { input: { productId, quantity, note = null } }: { input: CreateOrderInput },
      { customer, tx }: IdempotentContext,
    ): Order {
      if (quantity < 1) throw badUserInput(`\`quantity\` must be 1 or more, but it is ${quantity}.`);
      const { price, currency } = takeStock(tx, productId, quantity);
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
      tx.insert(orders).values(order).run();
      return order;
    },

    /** Without a key: the order's state says whether the stock has been given back. */
    cancelOrder(
      _root: unknown,
      { id }: { id: string },
      { customer, database }: CustomerContext,
    ): Promise<Order> {
      return database.write((tx) => {
        const order = tx.select().from(orders).where(eq(orders.id, id)).get();
        if (order?.customerId !== customer.id) throw notFound("order", id);
        if (order.status === "CANCELLED") return order;
        tx.update(orders).set({ status: "CANCELLED" }).where(eq(orders.id, id)).run();
        tx.update(products)
          .set({ stock: sql`${products.stock} + ${order.quantity}` })
          .where(eq(products.id, order.productId))
          .run();
        return { ...order, status: "CANCELLED" };
      });
    },
  },

  Order: {
    product({ productId }: Order, _args: unknown, { database }: CustomerContext): Product | undefined {
      return database.db.select().from(products).where(eq(products.id, productId)).get();
    },

    total({ total, currency }: Order): Money {
      return { amount: total, currency };
    },
  },
};

/** Checks the stock and takes from it in one statement. */
function takeStock(tx: ShopTransaction, productId: string, quantity: number) {
  const taken = tx
    .update(products)
    .set({ stock: sql`${products.stock} - ${quantity}` })
    .where(and(eq(products.id, productId), gte(products.stock, quantity)))
    .returning({ price: products.price, currency: products.currency })
    .all()[0];
  if (!taken) throw refusal(tx, productId, quantity);
  return taken;
}

function refusal(tx: ShopTransaction, productId: string, quantity: number): ShopError {
  const product = tx.select().from(products).where(eq(products.id, productId)).get();
  return product ? outOfStock(quantity, product.stock) : notFound("product", productId);
}
