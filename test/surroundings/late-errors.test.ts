import { describe, expect, it } from "vitest";
import { type ServerOptions, startServer } from "../start-server.ts";

const typeDefs = /* GraphQL */ `
  type Query { none: Int }
  enum Color { RED }
  type Thing { id: ID!  count: Int  color: Color  stock: Int! }
  type Mutation {
    nothing(idempotencyKey: ID!): Thing! @idempotent
    huge(idempotencyKey: ID!): Int @idempotent
    gone(idempotencyKey: ID!): Color! @idempotent
    noList(idempotencyKey: ID!): [Int!] @idempotent
    deepNull(idempotencyKey: ID!): Thing @idempotent
    deepHuge(idempotencyKey: ID!): Thing @idempotent
    deepGone(idempotencyKey: ID!): Thing @idempotent
    failing(idempotencyKey: ID!): Thing @idempotent
    unprotected: Int!
  }
`;

const resolvers: NonNullable<ServerOptions["resolvers"]> = () => ({
  Mutation: {
    nothing: () => null,
    huge: () => 2 ** 40,
    gone: () => "BLUE",
    noList: () => 7,
    deepNull: () => ({ id: null }),
    deepHuge: () => ({ id: 1, count: 2 ** 40 }),
    deepGone: () => ({ id: 1, color: "BLUE" }),
    failing: () => ({ id: 1 }),
    unprotected: () => null,
  },
  Thing: {
    stock: () => {
      throw new Error("The warehouse does not answer.");
    },
  },
});

const mutations = [
  ["null for a non-null result", "nothing", "{ id }"],
  ["an integer out of range", "huge", ""],
  ["an enum value that is gone", "gone", ""],
  ["no list for a list", "noList", ""],
  ["null below the result", "deepNull", "{ id }"],
  ["an integer out of range below", "deepHuge", "{ count }"],
  ["an enum value that is gone below", "deepGone", "{ color }"],
  ["a field's own resolver that fails", "failing", "{ stock }"],
] as const;

describe("an error after the resolver's return", () => {
  it.each(mutations)(
    "says that a new key would repeat the effect, on the replay too: %s",
    async (_what, field, below) => {
      await using server = await startServer({ typeDefs, resolvers });
      for (const replayed of [false, true]) {
        const { body } = await server.ask(`mutation { alias: ${field}(idempotencyKey: "1") ${below} }`);
        expect(body.errors).toHaveLength(1);
        expect(body.errors[0].extensions.idempotency).toEqual({
          key: "1",
          retryable: false,
          safeToUseNewKey: false,
        });
        expect(body.extensions.idempotency).toMatchObject([{ path: ["alias"], replayed }]);
      }
    },
  );

  it("has the advice also where formatError shows less, and in a batch", async () => {
    await using server = await startServer({
      typeDefs,
      resolvers,
      apollo: { formatError: ({ message }) => ({ message }), allowBatchedHttpRequests: true },
    });
    const { body } = await server.ask([{ query: 'mutation { huge(idempotencyKey: "1") }' }]);
    expect(body[0].errors[0].extensions).toEqual({
      idempotency: { key: "1", retryable: false, safeToUseNewKey: false },
    });
  });

  it("is left alone where no field is protected, and beside one that is", async () => {
    await using server = await startServer({ typeDefs, resolvers });
    const { body } = await server.ask('mutation { failing(idempotencyKey: "1") { id } unprotected }');
    expect(body.errors[0].extensions).not.toHaveProperty("idempotency");
  });
});
