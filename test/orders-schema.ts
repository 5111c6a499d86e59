import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { GraphQLError } from "graphql";
import type { TransactionContext } from "graphql-idempotent";
import { type Database, idempotencyRecords, type Transaction } from "graphql-idempotent/sqlite";

export const orders = sqliteTable("orders", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  customer: text("customer").notNull(),
  item: text("item").notNull(),
  quantity: integer("quantity").notNull(),
});

export const tables = { idempotencyRecords, orders };
export type Tables = typeof tables;

/** What the context of every server in these tests has. */
export interface RequestContext {
  readonly customer: { readonly id: string };
  readonly idempotencyKey: string | undefined;
}

type ProtectedContext = RequestContext & TransactionContext<Transaction<Tables>>;

/** One mutation for each case of the contract. Each writes an order first, so that effects can be counted. */
export const typeDefs = /* GraphQL */ `
  type Query {
    orders: [Order!]!
  }
  type Order {
    id: ID!
    item: String!
    quantity: Int!
    customer: String!
  }
  type Mutation {
    createOrder(item: String!, quantity: Int! = 1, note: String, idempotencyKey: ID): Order @idempotent(ignore: ["note"])
    createRequiredOrder(item: String!, idempotencyKey: ID): Order! @idempotent
    createOrderOrReject(item: String!, idempotencyKey: ID!): Order @idempotent(concurrent: REJECT)
    createOrderWithOptionalKey(item: String!, idempotencyKey: ID): Order @idempotent(required: false)
    createOrderForAnHour(item: String!, idempotencyKey: ID!): Order @idempotent(retention: "1h")
    soldOut(item: String!, idempotencyKey: ID!): Order @idempotent
    soldOutForGood(item: String!, idempotencyKey: ID!): Order @idempotent(errors: REPLAY)
    faulty(item: String!, idempotencyKey: ID!): Order @idempotent(errors: REPLAY)
    noResult(item: String!, idempotencyKey: ID!): Order @idempotent
    unstorable(item: String!, idempotencyKey: ID!): Order @idempotent
    tooLarge(item: String!, idempotencyKey: ID!): Order @idempotent
    unprotected(item: String!): Order
  }
`;

/** Lets a test hold protected resolvers after they have written, and count how often they ran. */
export class Workshop {
  readonly ran: string[] = [];
  #gate: Promise<void> = Promise.resolve();
  #started: () => void = () => {};

  /** Until released, resolvers wait; `started` is fulfilled when the next one does. */
  hold(): { readonly started: Promise<void>; readonly release: () => void } {
    let release = (): void => {};
    this.#gate = new Promise((resolve) => {
      release = resolve;
    });
    const started = new Promise<void>((resolve) => {
      this.#started = resolve;
    });
    return { started, release };
  }

  async pass(name: string): Promise<void> {
    this.ran.push(name);
    this.#started();
    await this.#gate;
  }
}

export function resolversFor(database: Database<Tables>, workshop: Workshop) {
  type Arguments = { readonly item: string; readonly quantity?: number };

  /** Writes an order, and then does what the case is about. */
  function creates(name: string, then: (order: typeof orders.$inferSelect) => unknown = (order) => order) {
    return async (_root: unknown, { item, quantity = 1 }: Arguments, { customer, tx }: ProtectedContext) => {
      const [order] = await tx.insert(orders).values({ customer: customer.id, item, quantity }).returning();
      await workshop.pass(name);
      return order && then(order);
    };
  }

  function refuses(): never {
    throw new GraphQLError("The item is sold out.", { extensions: { code: "SOLD_OUT", left: 0 } });
  }

  return {
    Query: { orders: () => database.db.select().from(orders) },
    Mutation: {
      createOrder: creates("createOrder"),
      createRequiredOrder: creates("createRequiredOrder"),
      createOrderOrReject: creates("createOrderOrReject"),
      createOrderWithOptionalKey: creates("createOrderWithOptionalKey"),
      createOrderForAnHour: creates("createOrderForAnHour"),
      soldOut: creates("soldOut", refuses),
      soldOutForGood: creates("soldOutForGood", refuses),
      faulty: creates("faulty", () => {
        throw new Error("SELECT secret FROM vault failed");
      }),
      noResult: creates("noResult", () => null),
      unstorable: creates("unstorable", (order) => ({ ...order, lines: [{ total: () => 1 }] })),
      tooLarge: creates("tooLarge", (order) => ({ ...order, item: "x".repeat(1_048_577) })),
      unprotected: (_root: unknown, { item }: Arguments, { customer }: RequestContext) =>
        database.write(async (tx) => {
          const order = { customer: customer.id, item, quantity: 1 };
          return (await tx.insert(orders).values(order).returning())[0];
        }),
    },
  };
}
