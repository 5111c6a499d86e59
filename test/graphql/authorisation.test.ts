import { MapperKind, mapSchema } from "@graphql-tools/utils";
import { defaultFieldResolver, GraphQLError, type GraphQLSchema } from "graphql";
import { describe, expect, it } from "vitest";
import { resolversFor } from "../orders-schema.ts";
import { startServer } from "../start-server.ts";

/** Who may place orders; a test changes it between a call and its retry. */
function permissions() {
  const allowed = new Set(["alice", "bob"]);

  function check(customer: string): void {
    if (allowed.has(customer)) return;
    throw new GraphQLError("You may not place orders.", { extensions: { code: "FORBIDDEN" } });
  }

  /** The right place: around the transformed schema. */
  function around(schema: GraphQLSchema): GraphQLSchema {
    return mapSchema(schema, {
      [MapperKind.MUTATION_ROOT_FIELD]: (config) => {
        const resolve = config.resolve ?? defaultFieldResolver;
        return {
          ...config,
          resolve(root, args, context, info) {
            check(context.customer.id);
            return resolve(root, args, context, info);
          },
        };
      },
    });
  }

  return { allowed, check, around };
}

const order = 'mutation { createOrder(item: "cup", idempotencyKey: "1") { id } }';

describe("a permission check around the protected resolver", () => {
  it("refuses a replay once the permission is gone, and lets it pass when it is back", async () => {
    const { allowed, around } = permissions();
    await using server = await startServer({ around });
    const { body: first } = await server.ask(order);
    allowed.delete("alice");
    const { headers, body: refused } = await server.ask(order);
    allowed.add("alice");
    const { body: retry } = await server.ask(order);
    expect(first.data.createOrder).toEqual({ id: "1" });
    expect(refused.data.createOrder).toBeNull();
    expect(refused.errors[0].extensions).toEqual({ code: "FORBIDDEN" });
    expect(refused).not.toHaveProperty("extensions");
    expect(headers.get("idempotent-replayed")).toBeNull();
    expect(retry).toMatchObject({ data: first.data, extensions: { idempotency: [{ replayed: true }] } });
  });

  it("that refuses the first call leaves the key unused", async () => {
    const { allowed, around } = permissions();
    await using server = await startServer({ around });
    allowed.delete("alice");
    await server.ask(order);
    allowed.add("alice");
    const { body } = await server.ask(order);
    expect(body.extensions.idempotency[0].replayed).toBe(false);
    expect(await server.countOrders()).toBe(1);
  });
});

describe("a permission check inside the protected resolver", () => {
  // What PROTOCOL.md warns of: the check is skipped along with the resolver.
  it("does not see a replay", async () => {
    const { allowed, check } = permissions();
    await using server = await startServer({
      resolvers: (database, workshop) => {
        const resolvers = resolversFor(database, workshop);
        const create = resolvers.Mutation.createOrder;
        return {
          ...resolvers,
          Mutation: {
            ...resolvers.Mutation,
            createOrder(root, args, context) {
              check(context.customer.id);
              return create(root, args, context);
            },
          },
        };
      },
    });
    const { body: first } = await server.ask(order);
    allowed.delete("alice");
    const { body: replay } = await server.ask(order);
    const { body: other } = await server.ask(order.replace('"1"', '"2"'));
    expect(replay.data).toEqual(first.data);
    expect(other.errors[0].extensions.code).toBe("FORBIDDEN");
  });
});

describe("a scope that refuses a caller", () => {
  it("does so on replays too, and does not call a new key safe: an earlier try may have had its effect", async () => {
    const { allowed, check } = permissions();
    await using server = await startServer({
      idempotency: {
        scope: async ({ customer }) => {
          check(customer.id);
          return customer.id;
        },
      },
    });
    await server.ask(order);
    allowed.delete("alice");
    const { body } = await server.ask(order);
    expect(body.errors[0].extensions).toEqual({
      code: "FORBIDDEN",
      idempotency: { key: null, retryable: true, safeToUseNewKey: false },
    });
  });

  it("keeps what one customer stored from every other, whatever key they send", async () => {
    await using server = await startServer();
    const { body: alices } = await server.ask(order);
    const { body: bobs } = await server.ask(order, { authorization: "Bearer bob" });
    expect(bobs.data.createOrder.id).not.toBe(alices.data.createOrder.id);
    expect(bobs.extensions.idempotency[0].replayed).toBe(false);
  });

  it.each(["", undefined])("is a fault when it names nobody (%o): nothing runs", async (nobody) => {
    // `as`: as JavaScript may do
    await using server = await startServer({ idempotency: { scope: () => nobody as string } });
    const { body } = await server.ask(order);
    expect(body.errors).toMatchObject([{ message: "Internal server error" }]);
    expect(await server.countOrders()).toBe(0);
  });
});
