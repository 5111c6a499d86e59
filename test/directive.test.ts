import { GraphQLError } from "graphql";
import { type ExternalContext, idempotent } from "graphql-idempotent";
import { sqliteStore, type Transaction } from "graphql-idempotent/sqlite";
import { describe, expect, it } from "vitest";
import { orderCreator, readPage, testExamples } from "./executed-page.ts";
import { orders, type RequestContext, type Tables } from "./orders-schema.ts";
import { openOrders } from "./start-server.ts";

async function payOrder(
  _root: unknown,
  { cardToken }: { cardToken: string },
  { idempotency }: RequestContext & ExternalContext<Transaction<Tables>>,
) {
  const charge = await idempotency.step("charge", () => {
    if (cardToken === "tok_visa") return { id: "ch_1", status: "PAID" };
    throw new GraphQLError("The card was declined.", { extensions: { code: "CARD_DECLINED" } });
  });
  return charge;
}

function refuseInvoice(): never {
  throw new GraphQLError("An invoice has this number.", { extensions: { code: "INVOICE_NUMBER_TAKEN" } });
}

describe("docs/directive.md", () => {
  const page = readPage("docs/directive.md");

  testExamples(page, (database, workshop) => {
    const creates = orderCreator(workshop);
    return {
      Query: { orders: () => database.db.select().from(orders) },
      Mutation: {
        createOrder: creates(),
        transferFunds: creates(({ id }, { input: { amount } }: { input: { amount: number } }) => ({
          id,
          amount,
        })),
        placeOrder: creates((order) => ({ order })),
        requestCode: creates(() => true),
        recordVisit: creates(({ id }, { sentAt }: { sentAt: string }) => ({ id, sentAt })),
        payOrder,
        exportOrders: creates(),
        issueInvoice: creates(refuseInvoice),
        subscribe: creates(({ id }, { email }: { email: string }) => ({ id, email })),
      },
    };
  });

  it("has a section with an example for every argument of the directive", async () => {
    await using database = await openOrders();
    const { typeDefs } = idempotent({ store: sqliteStore(database), scope: () => "", clientDirective: true });
    const names = [...typeDefs.matchAll(/^ {2}(\w+): .+$/gm)].map(([, name = ""]) => name);
    expect(names).toHaveLength(9);
    for (const name of names) {
      expect(page.text).toContain(`### ${name}\n`);
      expect(page.examples.some(({ heading }) => heading === name)).toBe(true);
      const written = new RegExp(`@idempotent\\(${name}: `);
      expect(name === "key" ? page.text : page.sdl).toMatch(written);
    }
  });
});
