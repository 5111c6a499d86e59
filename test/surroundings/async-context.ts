import { AsyncLocalStorage } from "node:async_hooks";
import { once as event } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ApolloServer } from "@apollo/server";
import { expressMiddleware } from "@as-integrations/express5";
import { makeExecutableSchema } from "@graphql-tools/schema";
import { createContextKey, ROOT_CONTEXT } from "@opentelemetry/api";
import { AsyncHooksContextManager } from "@opentelemetry/context-async-hooks";
import express from "express";
import {
  type ExternalContext,
  idempotent,
  type PayloadType,
  type Store,
  type TransactionContext,
} from "graphql-idempotent";
import { idempotencyPlugin } from "graphql-idempotent/apollo-server";

/** How an application knows whose request it serves, without being told by its callers. */
export interface ContextLibrary {
  /** Runs `work` for a customer: all that follows from it is theirs. */
  runAs<Result>(customer: string, work: () => Result): Result;
  /** Whose request this is, or undefined outside of any. */
  customer(): string | undefined;
  /** Ends what the library does to the process. */
  close(): void;
}

/** By name, the ways in which applications keep such a context. */
export const contextLibraries: Readonly<Record<string, () => ContextLibrary>> = {
  /** As nestjs-cls and @fastify/request-context do. */
  "AsyncLocalStorage.run": () => {
    const storage = new AsyncLocalStorage<string>();
    return {
      runAs: (customer, work) => storage.run(customer, work),
      customer: () => storage.getStore(),
      close: () => storage.disable(),
    };
  },
  "AsyncLocalStorage.enterWith": () => {
    const storage = new AsyncLocalStorage<string>();
    return {
      runAs(customer, work) {
        storage.enterWith(customer);
        return work();
      },
      customer: () => storage.getStore(),
      close: () => storage.disable(),
    };
  },
  /** By the IDs of async_hooks, as cls-hooked does. */
  "OpenTelemetry's AsyncHooksContextManager": () => {
    const manager = new AsyncHooksContextManager().enable();
    const key = createContextKey("customer");
    return {
      runAs: (customer, work) => manager.with(ROOT_CONTEXT.setValue(key, customer), work),
      customer: () => manager.active().getValue(key) as string | undefined, // `as`: see runAs
      close: () => manager.disable(),
    };
  },
};

export interface Order {
  readonly customer: string;
  readonly item: string;
}

/** The store under attack, and how an order gets into its table of orders. */
export interface OrderStore<Tx> {
  readonly store: Store<Tx>;
  readonly insert: (tx: Tx, order: Order) => Promise<unknown>;
}

/** A result that is stored by a codec of its author, which asks whose request it serves. */
class Receipt {
  readonly item: string;
  readonly orderedBy: string;
  readonly encodedFor: string | undefined;
  readonly decodedFor: string | undefined;

  constructor(item: string, orderedBy: string, encodedFor?: string, decodedFor?: string) {
    this.item = item;
    this.orderedBy = orderedBy;
    this.encodedFor = encodedFor;
    this.decodedFor = decodedFor;
  }
}

const typeDefs = /* GraphQL */ `
  type Query {
    ready: Boolean
  }
  type Receipt {
    item: String!
    orderedBy: String!
    encodedFor: String
    decodedFor: String
  }
  type Mutation {
    order(item: String!, idempotencyKey: ID): Receipt @idempotent(required: false)
    orderElsewhere(item: String!, idempotencyKey: ID!): Receipt @idempotent(effects: EXTERNAL)
  }
`;

/** A shop whose resolvers take the customer from the library alone. */
export async function startOrders<Tx>(
  { store, insert }: OrderStore<Tx>,
  library: ContextLibrary,
): Promise<{ readonly url: string } & AsyncDisposable> {
  const here = () => library.customer() ?? "nobody";
  const codec: PayloadType<Receipt> = {
    class: Receipt,
    encode: ({ item, orderedBy }) => ({ item, orderedBy, encodedFor: here() }),
    decode: (data) => {
      const { item, orderedBy, encodedFor } = data as Receipt; // `as`: see encode
      return new Receipt(item, orderedBy, encodedFor, here());
    },
  };
  const idempotency = idempotent<object, Tx>({ store, scope: here, types: { Receipt: codec } });

  async function order(_root: unknown, { item }: { item: string }, { tx }: TransactionContext<Tx>) {
    await insert(tx, { customer: here(), item });
    await new Promise((resolve) => setImmediate(resolve));
    return new Receipt(item, here());
  }

  async function orderElsewhere(
    _root: unknown,
    { item }: { item: string },
    { idempotency: call }: ExternalContext<Tx>,
  ) {
    const customer = await call.step("ask", () => here());
    await call.write("order", (tx) => insert(tx, { customer: here(), item }).then(() => null));
    return new Receipt(item, customer);
  }

  const schema = idempotency.transform(
    makeExecutableSchema({
      typeDefs: [idempotency.typeDefs, typeDefs],
      resolvers: { Mutation: { order, orderElsewhere } },
    }),
  );
  const apollo = new ApolloServer({
    schema,
    plugins: [idempotencyPlugin()],
    stopOnTerminationSignals: false,
  });
  await apollo.start();
  const app = express();
  app.use(
    express.json(),
    (request, _response, next) => library.runAs(String(request.headers.authorization), next),
    expressMiddleware(apollo),
  );
  const server = createServer(app).listen(0, "127.0.0.1");
  await event(server, "listening");
  const { port } = server.address() as AddressInfo; // `as`: it listens on TCP
  return {
    url: `http://127.0.0.1:${port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await apollo.stop();
    },
  };
}

/** What went wrong, in words, and how many orders there should be. */
export interface Attack {
  readonly findings: readonly string[];
  readonly orders: number;
}

/**
 * So many customers at once order from the shop in every way that it has: under a key, with a duplicate at its
 * side and a retry after it, without a key, and with the effects elsewhere. Each answer must name its customer.
 */
export async function attackAsCustomers(url: string, customers = 16, rounds = 8): Promise<Attack> {
  const findings: string[] = [];
  let orders = 0;

  async function ask(customer: string, field: string, item: string, key?: string): Promise<void> {
    const idempotencyKey = key === undefined ? "" : `, idempotencyKey: "${key}"`;
    const query = `mutation { receipt: ${field}(item: "${item}"${idempotencyKey}) { orderedBy encodedFor decodedFor } }`;
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: customer },
      body: JSON.stringify({ query }),
    });
    const { data, errors } = (await response.json()) as { data: { receipt: object }; errors?: unknown }; // `as`: GraphQL's form
    if (errors) findings.push(`${customer} got ${JSON.stringify(errors)}`);
    for (const [what, name] of Object.entries(data?.receipt ?? {})) {
      if (name !== null && name !== customer) findings.push(`${item}: ${what} is ${name}, not ${customer}`);
    }
  }

  async function order(customer: string, round: number): Promise<void> {
    const item = `${customer} ${round}`;
    await Promise.all([
      ask(customer, "order", `${item} keyed`, item),
      ask(customer, "order", `${item} keyed`, item),
      ask(customer, "order", `${item} keyless`),
      ask(customer, "orderElsewhere", `${item} elsewhere`, item),
    ]);
    await ask(customer, "order", `${item} keyed`, item);
    orders += 3;
  }

  async function visit(customer: string): Promise<void> {
    for (let round = 0; round < rounds; round++) await order(customer, round);
  }

  await Promise.all(Array.from({ length: customers }, (_, index) => visit(`customer-${index}`)));
  return { findings, orders };
}

/** Orders that are in another customer's name than the one who sent them. */
export function misnamed(orders: readonly Order[]): readonly Order[] {
  return orders.filter(({ customer, item }) => item.split(" ")[0] !== customer);
}
