import { eq } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import type { CustomerContext, IdempotentContext } from "./context.ts";
import type { Invoice, Order, ShopDatabase } from "./database.ts";
import { badUserInput, invoiceNumberTaken, notFound } from "./errors.ts";
import type { Money } from "./money.ts";

export function invoiceResolvers({ db, tables: { invoices, orders } }: ShopDatabase) {
  return {
    Query: {
      async invoice(_root: unknown, { id }: { id: string }, { customer }: CustomerContext): Promise<Invoice> {
        const [found] = await db
          .select({ invoice: invoices, customerId: orders.customerId })
          .from(invoices)
          .innerJoin(orders, eq(orders.id, invoices.orderId))
          .where(eq(invoices.id, id));
        if (found?.customerId !== customer.id) throw notFound("invoice", id);
        return found.invoice;
      },
    },

    Mutation: {
      async issueInvoice(
        _root: unknown,
        { orderId, number }: { orderId: string; number: string },
        { customer, tx }: IdempotentContext,
      ): Promise<Invoice> {
        if (!/^\S{1,64}$/.test(number)) {
          throw badUserInput(
            "An invoice's number has 1 to 64 characters and no white space, such as 2026-0001.",
          );
        }
        const [order] = await tx.select().from(orders).where(eq(orders.id, orderId));
        if (order?.customerId !== customer.id) throw notFound("order", orderId);
        if (order.status === "CANCELLED") {
          throw badUserInput("An invoice requires an order that is placed, but this one is cancelled.");
        }
        const { total, currency } = order;
        const issuedAt = new Date().toISOString();
        const [invoice] = await tx
          .insert(invoices)
          .values({ id: uuidv7(), number, orderId, total, currency, issuedAt })
          .onConflictDoNothing({ target: invoices.number })
          .returning();
        if (!invoice) throw invoiceNumberTaken(number);
        return invoice;
      },
    },

    Invoice: {
      async order({ orderId }: Invoice): Promise<Order | undefined> {
        const [order] = await db.select().from(orders).where(eq(orders.id, orderId));
        return order;
      },

      total({ total, currency }: Invoice): Money {
        return { amount: total, currency };
      },
    },
  };
}
