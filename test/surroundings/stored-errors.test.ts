import { HeaderMap } from "@apollo/server";
import { GraphQLError, type GraphQLErrorExtensions } from "graphql";
import { once, SHARED } from "graphql-idempotent";
import { describe, expect, it } from "vitest";
import { startServer } from "../start-server.ts";
import { noon, openEntries } from "../stores/sqlite/entries-database.ts";

const typeDefs = /* GraphQL */ `
  type Query { none: Int }
  type Mutation { pay(idempotencyKey: ID!): Int @idempotent(errors: REPLAY) }
`;

const date = new Date(noon);

describe("an error that is the result", () => {
  it("has the HTTP status and headers that its resolver gave it, on every replay", async () => {
    const headers = new HeaderMap();
    headers.set("X-Reason", "funds");
    const extensions: Record<string, unknown> = { code: "PAY", http: { status: 402, headers } };
    await using server = await startServer({
      typeDefs,
      resolvers: () => ({
        Mutation: {
          pay: () => {
            throw new GraphQLError("Pay first.", { extensions });
          },
        },
      }),
    });
    for (const replayed of [null, "true", "true"]) {
      const answer = await server.ask('mutation { pay(idempotencyKey: "1") }');
      expect(answer.status).toBe(402);
      expect(answer.headers.get("x-reason")).toBe("funds");
      expect(answer.headers.get("idempotent-replayed")).toBe(replayed);
      expect(answer.body.errors[0].extensions).toMatchObject({
        code: "PAY",
        idempotency: { retryable: false },
      });
    }
  });

  it.each<[string, unknown]>([
    ["a Map", new Map([["a", [1]]])],
    ["a Set", new Set([1, "a"])],
    ["NaN", Number.NaN],
    ["-0", -0],
    ["infinity", Number.NEGATIVE_INFINITY],
    ["a Date", date],
    ["a Buffer", Buffer.from("abc")],
    ["bytes", new Uint8Array([1, 2])],
    ["a BigInt", 12n],
    ["undefined", undefined],
    ["nested values", { list: [{ at: date, of: new Map([[1, new Set([2n])]]) }] }],
    ["plain JSON", { list: [1, null, "a"] }],
  ])("comes back with %s in its extensions", async (_what, value) => {
    await using opened = await openEntries();
    const thrown = async (): Promise<GraphQLErrorExtensions> => {
      const call = { scope: SHARED, field: "pay", key: "1", errors: "REPLAY" } as const;
      const run = () => {
        throw new GraphQLError("No.", { extensions: { value } });
      };
      const error = await once(opened.store, call, run).catch((error: unknown) => error);
      if (!(error instanceof GraphQLError)) throw new Error("No error of GraphQL was thrown.");
      return error.extensions;
    };
    expect(await thrown()).toStrictEqual({ value });
    expect(await thrown()).toStrictEqual({ value });
  });

  it("that an earlier version stored still replays", async () => {
    await using opened = await openEntries();
    const identity = { scope: "", field: "pay", key: "1" };
    const call = { scope: SHARED, field: "pay", key: "1", errors: "REPLAY" } as const;
    await once(opened.store, call, () => {
      throw new GraphQLError("No.", { extensions: { code: "NO" } });
    }).catch(() => {});
    expect(await opened.store.find(identity)).toMatchObject({
      format: "error",
      payload: '{"message":"No.","extensions":{"code":"NO"}}',
    });
  });
});
