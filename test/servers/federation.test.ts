import { buildSubgraphSchema } from "@apollo/subgraph";
import { type GraphQLFieldResolver, graphql, parse } from "graphql";
import { collectOutcomes, idempotent } from "graphql-idempotent";
import { sqliteStore } from "graphql-idempotent/sqlite";
import { describe, expect, it } from "vitest";
import { type RequestContext, resolversFor, Workshop } from "../orders-schema.ts";
import { openOrders } from "../start-server.ts";

const typeDefs = /* GraphQL */ `
  extend schema @link(url: "https://specs.apollo.dev/federation/v2.3", import: ["@key"])

  type Query {
    orders: [Order!]!
  }
  type Mutation {
    createOrder(item: String!, idempotencyKey: ID!): Order! @idempotent
  }
  type Order @key(fields: "id") {
    id: ID!
    item: String!
  }
`;

describe("an Apollo Federation subgraph", () => {
  it("runs and replays, resolves references, and has the directive in the SDL that the router composes", async () => {
    await using database = await openOrders();
    const idempotency = idempotent({
      store: sqliteStore(database),
      scope: ({ customer }: RequestContext) => customer.id,
    });
    const { Query, Mutation } = resolversFor(database, new Workshop());
    const schema = idempotency.transform(
      buildSubgraphSchema({
        typeDefs: parse(idempotency.typeDefs + typeDefs),
        resolvers: {
          Query: { orders: Query.orders },
          // `as`: Apollo's type knows no context
          Mutation: { createOrder: Mutation.createOrder as GraphQLFieldResolver<unknown, unknown> },
          Order: { __resolveReference: async ({ id }: { id: string }) => ({ id, item: "referenced" }) },
        },
      }),
    );

    async function ask(source: string) {
      const contextValue = { customer: { id: "alice" } };
      const outcomes = collectOutcomes(contextValue);
      const { data, errors } = await graphql({ schema, source, contextValue });
      expect(errors).toBeUndefined();
      return { data: JSON.parse(JSON.stringify(data)), replayed: outcomes.map(({ replayed }) => replayed) };
    }

    const order = 'mutation { createOrder(item: "cup", idempotencyKey: "1") { __typename id item } }';
    const data = { createOrder: { __typename: "Order", id: "1", item: "cup" } };
    expect(await ask(order)).toEqual({ data, replayed: [false] });
    expect(await ask(order)).toEqual({ data, replayed: [true] });
    expect(
      (
        await ask(
          '{ _entities(representations: [{ __typename: "Order", id: "1" }]) { ... on Order { id item } } }',
        )
      ).data,
    ).toEqual({ _entities: [{ id: "1", item: "referenced" }] });
    const { sdl } = (await ask("{ _service { sdl } }")).data._service;
    expect(sdl).toContain("createOrder(item: String!, idempotencyKey: ID!): Order! @idempotent");
    expect(sdl).toContain("directive @idempotent(");
  });
});
