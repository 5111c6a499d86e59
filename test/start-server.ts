import { EventEmitter, on } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { ApolloServer, type ApolloServerOptionsWithSchema, type ApolloServerPlugin } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import { makeExecutableSchema } from "@graphql-tools/schema";
import type { IResolvers } from "@graphql-tools/utils";
import type { GraphQLSchema } from "graphql";
import { type IdempotentOptions, idempotent } from "graphql-idempotent";
import { idempotencyPlugin } from "graphql-idempotent/apollo-server";
import {
  type Database,
  type DatabaseOptions,
  openDatabase,
  sqliteStore,
  type Transaction,
} from "graphql-idempotent/sqlite";
import { createTables } from "./create-tables.ts";
import {
  type RequestContext,
  resolversFor,
  type Tables,
  tables,
  typeDefs,
  Workshop,
} from "./orders-schema.ts";

/** An answer as the wire has it. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // biome-ignore lint/suspicious/noExplicitAny: the body is whatever the server sent
  readonly body: any;
}

export interface StartedServer extends AsyncDisposable {
  readonly url: string;
  readonly database: Database<Tables>;
  readonly workshop: Workshop;
  /** The server's clock: tests set it. */
  readonly clock: { now: number };
  /** Sends an operation, or what the body is to be, as Alice unless the headers say otherwise. */
  ask(operation: string | object, headers?: Record<string, string>): Promise<Answer>;
  /** Fulfilled when so many operations from now on have begun to execute, and wait for something. */
  arrivals(count: number): Promise<void>;
  /** How many orders there are. */
  countOrders(): Promise<number>;
}

export interface ServerOptions {
  /** A directory to keep the database in. @default a temporary one, removed with the server */
  readonly directory?: string;
  readonly typeDefs?: string;
  readonly resolvers?: (database: Database<Tables>, workshop: Workshop) => IResolvers;
  readonly idempotency?: Partial<IdempotentOptions<RequestContext, Transaction<Tables>>>;
  readonly database?: Partial<DatabaseOptions<Tables>>;
  readonly apollo?: Omit<Partial<ApolloServerOptionsWithSchema<RequestContext>>, "schema">;
  /** What is wrapped around the transformed schema. */
  readonly around?: (schema: GraphQLSchema) => GraphQLSchema;
}

/** The time at which the clock of every test stands. */
export const noon = Date.parse("2026-01-15T12:00:00.000Z");

/** A database in a directory of its own, unless told another. */
export async function openOrders(
  options: Pick<ServerOptions, "directory" | "database"> = {},
): Promise<Database<Tables>> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), "graphql-idempotent-test-"));
  const file = join(directory, "orders.db");
  if (!options.directory) await createTables(file, tables);
  const database = openDatabase(file, { schema: tables, ...options.database });
  async function closeAndRemove(): Promise<void> {
    await database.close();
    if (!options.directory) rmSync(directory, { recursive: true });
  }
  return Object.assign(database, { [Symbol.asyncDispose]: closeAndRemove });
}

/** Apollo Server on a port of its own, with the cases of the contract on a real SQLite file. */
export async function startServer(options: ServerOptions = {}): Promise<StartedServer> {
  const database = await openOrders(options);
  const workshop = new Workshop();
  const clock = { now: noon };
  const idempotency = idempotent<RequestContext, Transaction<Tables>>({
    store: sqliteStore(database, { now: () => clock.now }),
    scope: ({ customer }) => customer.id,
    header: ({ idempotencyKey }) => idempotencyKey,
    clientDirective: true,
    ...options.idempotency,
  });
  const schema = idempotency.transform(
    makeExecutableSchema({
      typeDefs: [idempotency.typeDefs, options.typeDefs ?? typeDefs],
      resolvers: (options.resolvers ?? resolversFor)(database, workshop),
    }),
  );
  const executions = new EventEmitter();
  const server = new ApolloServer<RequestContext>({
    includeStacktraceInErrorResponses: false, // as in production
    stopOnTerminationSignals: false,
    ...options.apollo,
    schema: options.around ? options.around(schema) : schema,
    plugins: [idempotencyPlugin(), announceExecutions(executions), ...(options.apollo?.plugins ?? [])],
  });
  const { url } = await startStandaloneServer(server, {
    listen: { port: 0, host: "127.0.0.1" },
    context: async ({ req }) => ({
      customer: { id: req.headers.authorization?.replace("Bearer ", "") ?? "nobody" },
      // Node joins repeated headers with a comma, so it is a string
      idempotencyKey: req.headers["idempotency-key"]?.toString(),
    }),
  });

  async function ask(operation: string | object, headers: Record<string, string> = {}): Promise<Answer> {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer alice", ...headers },
      body: JSON.stringify(typeof operation === "string" ? { query: operation } : operation),
    });
    return { status: response.status, headers: response.headers, body: await response.json() };
  }

  async function arrivals(count: number): Promise<void> {
    const started = on(executions, "start");
    for (let seen = 0; seen < count; seen++) await started.next();
    await started.return?.();
    await setImmediate();
  }

  return {
    url,
    database,
    workshop,
    clock,
    ask,
    arrivals,
    countOrders: () => database.db.$count(tables.orders),
    async [Symbol.asyncDispose]() {
      await server.stop();
      await database[Symbol.asyncDispose]();
    },
  };
}

function announceExecutions(executions: EventEmitter): ApolloServerPlugin {
  return {
    async requestDidStart() {
      return {
        async executionDidStart() {
          executions.emit("start");
        },
      };
    },
  };
}
