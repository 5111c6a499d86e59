import { makeExecutableSchema } from "@graphql-tools/schema";
import { graphql } from "graphql";
import { collectOutcomes, idempotent } from "graphql-idempotent";
import { type Database, sqliteStore } from "graphql-idempotent/sqlite";
import { describe, expect, it } from "vitest";
import {
  type RequestContext,
  resolversFor,
  type Tables,
  tables,
  typeDefs,
  Workshop,
} from "../orders-schema.ts";
import { noon, openOrders } from "../start-server.ts";

function schemaOn(database: Database<Tables>) {
  const idempotency = idempotent({
    store: sqliteStore(database, { now: () => noon }),
    scope: ({ customer }: RequestContext) => customer.id,
    clientDirective: true,
  });
  return idempotency.transform(
    makeExecutableSchema({
      typeDefs: [idempotency.typeDefs, typeDefs],
      resolvers: resolversFor(database, new Workshop()),
    }),
  );
}

describe("plain graphql()", () => {
  it.each<[string, (contextValue: object) => object]>([
    ["is the context that outcomes are collected for", (contextValue) => contextValue],
    ["is a copy of it", (contextValue) => ({ ...contextValue })],
    ["inherits from it", (contextValue) => Object.create(contextValue)],
    ["can't be changed", (contextValue) => Object.freeze(contextValue)],
  ])("tells outcomes when the context of resolvers %s", async (_name, contextOf) => {
    await using database = await openOrders();
    const schema = schemaOn(database);
    const sent = { customer: { id: "alice" } };
    if (Object.isFrozen(contextOf({}))) Object.freeze(sent);
    const outcomes = collectOutcomes(sent);
    const source = 'mutation { createOrder(item: "cup", idempotencyKey: "1") { id } }';
    await graphql({ schema, source, contextValue: contextOf(sent) });
    expect(outcomes).toMatchObject([{ key: "1", replayed: false }]);
  });

  it("runs and replays, and collectOutcomes() tells which it was", async () => {
    await using database = await openOrders();
    const schema = schemaOn(database);

    async function ask(item: string) {
      const contextValue = { customer: { id: "alice" } };
      const outcomes = collectOutcomes(contextValue);
      const source = `mutation { createOrder(item: "${item}", idempotencyKey: "1") { id item } }`;
      const { data, errors } = await graphql({ schema, source, contextValue });
      return { data: data && { ...data }, errors: errors?.map(({ extensions }) => extensions), outcomes };
    }

    const outcome = {
      path: ["createOrder"],
      key: "1",
      resourceId: "1",
      createdAt: "2026-01-15T12:00:00.000Z",
      expiresAt: "2026-01-16T12:00:00.000Z",
    };
    const data = { createOrder: { id: "1", item: "cup" } };
    expect(await ask("cup")).toEqual({ data, outcomes: [{ ...outcome, replayed: false }] });
    expect(await ask("cup")).toEqual({ data, outcomes: [{ ...outcome, replayed: true }] });
    expect(await ask("saucer")).toEqual({
      data: { createOrder: null },
      errors: [
        {
          code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
          idempotency: { key: "1", retryable: false, safeToUseNewKey: false },
        },
      ],
      outcomes: [],
    });
    expect(await database.db.$count(tables.orders)).toBe(1);
  });

  it("needs nobody who collects", async () => {
    await using database = await openOrders();
    const schema = schemaOn(database);
    const source = 'mutation { createOrder(item: "cup", idempotencyKey: "1") { id } }';
    const { errors } = await graphql({ schema, source, contextValue: { customer: { id: "alice" } } });
    expect(errors).toBeUndefined();
  });
});
