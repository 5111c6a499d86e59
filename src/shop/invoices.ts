import { eq } from "drizzle-orm";
import { v7 as uuidv7 } from "uuid";
import type { CustomerContext, IdempotentContext } from "./context.ts";
import { badUserInput, invoiceNumberTaken, notFound } from "./errors.ts";
import type { Money } from "./money.ts";
import { type Invoice, invoices, type Order, orders } from "./tables.ts";

export const invoiceResolvers = {
  Query: {
    invoice(_root: unknown, { id }: { id: string }, { customer, database }: CustomerContext): Invoice {
      const found = database.db
        .select({ invoice: invoices, customerId: orders.customerId })
        .from(invoices)
        .innerJoin(orders, eq(orders.id, invoices.orderId))
        .where(eq(invoices.id, id))
        .get();
      if (found?.customerId !== customer.id) throw notFound("invoice", id);
      return found.invoice;
    },
  },

  Mutation: {
    issueInvoice(
      _root: unknown,
      { orderId, number }: { orderId: string; number: string },
      { customer, tx }: IdempotentContext,
    ): Invoice {
      if (!/^\S{1,64}$/.test(number)) {
        throw badUserInput(
          "An invoice's number has 1 to 64 characters and no white space, such as 2026-0001.",
        );
      }
      const order = tx.select().from(orders).where(eq(orders.id, orderId)).get();
      if (order?.customerId !== customer.id) throw notFound("order", orderId);
      if (order.status === "CANCELLED") {
        throw badUserInput("An invoice requires an order that is placed, but this one is cancelled.");
      }
      const { total, currency } = order;
      const issuedAt = new Date().toISOString();
      const invoice: Invoice = { id: uuidv7(), number, orderId, total, currency, issuedAt };
      const { changes } = tx
        .insert(invoices)
        .values(invoice)
        .onConflictDoNothing({ target: invoices.number })
        .run();
      if (changes === 0) throw invoiceNumberTaken(number);
      return invoice;
    },
  },

  Invoice: {
    order({ orderId }: Invoice, _args: unknown, { database }: CustomerContext): Order | undefined {
      return database.db.select().from(orders).where(eq(orders.id, orderId)).get();
    },

    total({ total, currency }: Invoice): Money {
      return { amount: total, currency };
    },
  },
};
