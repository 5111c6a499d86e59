import { GraphQLScalarType } from "graphql";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { orders } from "../orders-schema.ts";
import { type ServerOptions, type StartedServer, startServer } from "../start-server.ts";

/** An exact number, of a class that the library can't know. */
class Decimal {
  readonly digits: string;
  constructor(digits: string) {
    this.digits = digits;
  }
  toString(): string {
    return this.digits;
  }
}

class Refund {
  readonly id: string;
  readonly reason: string;
  constructor(id: string, reason: string) {
    this.id = id;
    this.reason = reason;
  }
}

const typeDefs = /* GraphQL */ `
  scalar DateTime
  scalar Long
  scalar Amount
  interface Node {
    id: ID!
  }
  type Query {
    node: Node
  }
  type Order implements Node {
    id: ID!
    item: String!
    placedAt: DateTime!
    serial: Long!
    total: Amount!
    lines: [Line!]!
    readings: [Float]!
    stock: Int!
  }
  type Line {
    name: String
    note: String
  }
  type Refund implements Node {
    id: ID!
    reason: String!
  }
  type Declined {
    reason: String!
  }
  union Outcome = Order | Refund | Declined
  type Mutation {
    order(idempotencyKey: ID!): Order! @idempotent
    node(kind: String!, idempotencyKey: ID!): Node! @idempotent
    outcome(kind: String!, idempotencyKey: ID!): Outcome! @idempotent
    outcomes(idempotencyKey: ID!): [Outcome]! @idempotent
    count(idempotencyKey: ID!): Int! @idempotent
    tags(idempotencyKey: ID!): [[String]] @idempotent
  }
`;

const resolvers: NonNullable<ServerOptions["resolvers"]> = (database) => {
  let made = 0;
  const orderNow = () => ({
    id: ++made,
    item: `cup ${made}`,
    placedAt: new Date(Date.UTC(2026, 0, 15, 12, 0, made)),
    serial: 9_007_199_254_740_993n,
    total: new Decimal("0.10000000000000000000001"),
    lines: new Set([{ name: "a", note: undefined }, { name: "b" }]),
    readings: [-0, 1.5, null],
  });
  const making = {
    order: () => ({ __typename: "Order", ...orderNow() }),
    refund: () => new Refund(String(++made), "broken"),
    declined: () => ({ reason: "too late", declined: true }),
  };
  type Kind = { kind: keyof typeof making };
  return {
    DateTime: new GraphQLScalarType<Date, string>({
      name: "DateTime",
      serialize: (value) => (value as Date).toISOString(),
    }),
    Long: new GraphQLScalarType<bigint, string>({ name: "Long", serialize: String }),
    Amount: new GraphQLScalarType<Decimal, string>({
      name: "Amount",
      serialize(value) {
        if (value instanceof Decimal) return value.toString();
        throw new TypeError("An amount must be a Decimal.");
      },
    }),
    Node: { __resolveType: (value: object) => (value instanceof Refund ? "Refund" : "Order") },
    Outcome: {
      __resolveType(value: object) {
        if (value instanceof Refund) return "Refund";
        return "declined" in value ? "Declined" : "Order";
      },
    },
    // A field with a resolver of its own is read anew on a replay.
    Order: { stock: () => database.db.$count(orders) },
    Mutation: {
      order: orderNow,
      node: (_root: unknown, { kind }: Kind) => making[kind](),
      outcome: (_root: unknown, { kind }: Kind) => making[kind](),
      outcomes: () => [making.refund(), null, making.declined(), making.order()],
      count: () => ++made,
      tags: () => [["a", null], null, [String(++made)]],
    },
  };
};

let server: StartedServer;
beforeAll(async () => {
  server = await startServer({
    typeDefs,
    resolvers,
    idempotency: {
      types: {
        Decimal: {
          class: Decimal,
          encode: ({ digits }) => digits,
          decode: (digits) => new Decimal(String(digits)),
        },
        Refund: {
          class: Refund,
          encode: ({ id, reason }) => [id, reason],
          decode: (data) => new Refund(...(data as [string, string])), // `as`: what encode returned
        },
      },
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

let lastKey = 0;
const newKey = () => `result-${++lastKey}`;

describe("the first answer and every replay are equal", () => {
  const orderFields = "id item placedAt serial total lines { name note } readings";
  it.each([
    ["Date, BigInt, a class, a Set and -0", `order(idempotencyKey: $key) { ${orderFields} }`],
    [
      "an interface, by class",
      'node(kind: "refund", idempotencyKey: $key) { __typename id ... on Refund { reason } }',
    ],
    [
      "an interface, by default",
      'node(kind: "order", idempotencyKey: $key) { __typename id ... on Order { total } }',
    ],
    [
      "a union, by class",
      'outcome(kind: "refund", idempotencyKey: $key) { __typename ... on Refund { id reason } }',
    ],
    [
      "a union, by a property",
      'outcome(kind: "declined", idempotencyKey: $key) { __typename ... on Declined { reason } }',
    ],
    [
      "a list of a union",
      `outcomes(idempotencyKey: $key) { __typename ... on Node { id } ... on Order { ${orderFields} } ... on Declined { reason } }`,
    ],
    ["a number", "count(idempotencyKey: $key)"],
    ["lists of lists", "tags(idempotencyKey: $key)"],
  ])("for %s", async (_what, field) => {
    const operation = { query: `mutation ($key: ID!) { ${field} }`, variables: { key: newKey() } };
    const { body: first } = await server.ask(operation);
    expect(first.errors).toBeUndefined();
    for (let count = 0; count < 2; count++) {
      const { body: replay } = await server.ask(operation);
      expect(replay.data).toEqual(first.data);
      expect(replay.extensions.idempotency[0]).toEqual({
        ...first.extensions.idempotency[0],
        replayed: true,
      });
    }
  });
});

describe("a retry may select otherwise", () => {
  it("with other fields, aliases and fragments, and gets the first result", async () => {
    const key = newKey();
    const { body: first } = await server.ask(
      `mutation { order(idempotencyKey: "${key}") { id item placedAt serial total } }`,
    );
    const { body: retry } = await server.ask(`
      mutation { again: order(idempotencyKey: "${key}") { number: id ...times ... on Order { total serial } __typename } }
      fragment times on Order { when: placedAt ... on Node { id } }
    `);
    const { id, placedAt, serial, total } = first.data.order;
    expect(retry.data).toEqual({
      again: { number: id, when: placedAt, id, total, serial, __typename: "Order" },
    });
    expect(retry.extensions.idempotency[0].replayed).toBe(true);
  });

  it("with fields that the first call did not select", async () => {
    const key = newKey();
    const { body: first } = await server.ask(
      `mutation { outcome(kind: "refund", idempotencyKey: "${key}") { __typename } }`,
    );
    const { body: retry } = await server.ask(
      `mutation { outcome(kind: "refund", idempotencyKey: "${key}") { ... on Refund { id reason } } }`,
    );
    expect(first.data.outcome).toEqual({ __typename: "Refund" });
    expect(retry.data.outcome).toEqual({ id: expect.any(String), reason: "broken" });
  });
});

describe("a field with a resolver of its own", () => {
  it("is read anew on a replay, as any query reads it", async () => {
    const operation = `mutation { order(idempotencyKey: "${newKey()}") { id stock } }`;
    const { body: first } = await server.ask(operation);
    await server.database.write((tx) =>
      tx.insert(orders).values({ customer: "alice", item: "cup", quantity: 1 }),
    );
    const { body: replay } = await server.ask(operation);
    expect(replay.data.order).toEqual({ id: first.data.order.id, stock: first.data.order.stock + 1 });
  });
});
