import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { makeExecutableSchema } from "@graphql-tools/schema";
import { collectOutcomes, idempotent } from "graphql-idempotent";
import { type Database, sqliteStore } from "graphql-idempotent/sqlite";
import { createYoga, type Plugin, type YogaInitialContext } from "graphql-yoga";
import { describe, expect, it } from "vitest";
import { type RequestContext, resolversFor, type Tables, typeDefs, Workshop } from "../orders-schema.ts";
import { openOrders } from "../start-server.ts";

/** All that Yoga needs to tell its clients what became of their keys. */
const outcomesPlugin: Plugin<RequestContext> = {
  onExecute({ args }) {
    const outcomes = collectOutcomes(args.contextValue);
    return {
      onExecuteDone({ result, setResult }) {
        if (outcomes.length === 0 || !("data" in result)) return;
        setResult({ ...result, extensions: { ...result.extensions, idempotency: outcomes } });
      },
    };
  },
};

async function startYoga(database: Database<Tables>) {
  const idempotency = idempotent({
    store: sqliteStore(database),
    scope: ({ customer }: RequestContext) => customer.id,
    header: ({ idempotencyKey }: RequestContext) => idempotencyKey,
    clientDirective: true,
  });
  const yoga = createYoga({
    schema: idempotency.transform(
      makeExecutableSchema({
        typeDefs: [idempotency.typeDefs, typeDefs],
        resolvers: resolversFor(database, new Workshop()),
      }),
    ),
    context: ({ request }: YogaInitialContext): RequestContext => ({
      customer: { id: request.headers.get("authorization") ?? "nobody" },
      idempotencyKey: request.headers.get("idempotency-key") ?? undefined,
    }),
    plugins: [outcomesPlugin],
    logging: false,
  });
  const server = createServer(yoga);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // `as`: a server that listens on a port has an address of this form
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/graphql`;

  async function ask(query: string, headers: Record<string, string> = {}) {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "alice", ...headers },
      body: JSON.stringify({ query }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: the body is whatever the server sent
    return (await response.json()) as any;
  }

  async function stop(): Promise<void> {
    await new Promise((resolve) => server.close(resolve));
  }

  return { ask, [Symbol.asyncDispose]: stop };
}

describe("GraphQL Yoga", () => {
  it.each([
    ["the argument", 'createOrder(item: "cup", idempotencyKey: "1") { id }', {}],
    ["the header", 'createOrder(item: "cup") { id }', { "idempotency-key": '"1"' }],
    ["the client's directive", 'createOrder(item: "cup") @idempotent(key: "1") { id }', {}],
  ])("runs and replays a key from %s, and tells which it was", async (_source, field, headers) => {
    await using database = await openOrders();
    await using yoga = await startYoga(database);
    const first = await yoga.ask(`mutation { ${field} }`, headers);
    const retry = await yoga.ask(`mutation { ${field} }`, headers);
    expect(first).toMatchObject({
      data: { createOrder: { id: "1" } },
      extensions: { idempotency: [{ key: "1", replayed: false }] },
    });
    expect(retry).toMatchObject({
      data: first.data,
      extensions: { idempotency: [{ key: "1", replayed: true }] },
    });
  });

  it("shows this package's errors and the resolvers' own, and masks faults by itself", async () => {
    await using database = await openOrders();
    await using yoga = await startYoga(database);
    const errorOf = async (field: string) =>
      (await yoga.ask(`mutation { ${field}(item: "cup", idempotencyKey: "1") { id } }`)).errors[0];
    await yoga.ask('mutation { createOrder(item: "saucer", idempotencyKey: "1") { id } }');
    expect(await errorOf("createOrder")).toMatchObject({
      extensions: { code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH", idempotency: { key: "1", retryable: false } },
    });
    expect(await errorOf("soldOut")).toMatchObject({
      message: "The item is sold out.",
      extensions: { code: "SOLD_OUT", idempotency: { key: "1", retryable: true, safeToUseNewKey: true } },
    });
    const fault = await errorOf("faulty");
    expect(fault).toMatchObject({
      message: "Unexpected error.",
      extensions: { code: "INTERNAL_SERVER_ERROR" },
    });
    expect(JSON.stringify(fault)).not.toMatch(/secret|SELECT/);
  });
});
