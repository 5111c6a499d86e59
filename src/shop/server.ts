import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { ApolloServer } from "@apollo/server";
import { unwrapResolverError } from "@apollo/server/errors";
import { ApolloServerPluginDrainHttpServer } from "@apollo/server/plugin/drainHttpServer";
import { expressMiddleware } from "@as-integrations/express5";
import express, { type ErrorRequestHandler, type RequestHandler } from "express";
import type { GraphQLFormattedError } from "graphql";
import { idempotencyPlugin } from "graphql-idempotent/apollo-server";
import { createAuthenticator } from "./authentication.ts";
import type { Configuration } from "./configuration.ts";
import type { RequestContext } from "./context.ts";
import type { ShopDatabase } from "./database.ts";
import { driverErrorOf } from "./driver-error.ts";
import { graphiqlPlugin } from "./graphiql.ts";
import { openShopDatabase } from "./open-database.ts";
import { createSchema } from "./schema.ts";

export interface Shop {
  /** The API's address, such as http://localhost:4000/graphql. */
  readonly url: string;
  /** The database's location, without a password. */
  readonly location: string;
  /** Refuses new connections, finishes the running calls, and closes the database. */
  close(): Promise<void>;
}

/** @throws {Error} that says in one line why the shop can't open */
export async function startShop({ port, database: address, hasDemoTokens }: Configuration): Promise<Shop> {
  const database = await openShopDatabase(address, hasDemoTokens);
  try {
    const app = express();
    const server = createServer(app);
    const apollo = new ApolloServer<RequestContext>({
      schema: createSchema(database),
      plugins: [
        idempotencyPlugin(),
        graphiqlPlugin(hasDemoTokens),
        ApolloServerPluginDrainHttpServer({ httpServer: server }),
      ],
      csrfPrevention: true,
      allowBatchedHttpRequests: true,
      // The schema is public, and GraphiQL needs it.
      introspection: true,
      includeStacktraceInErrorResponses: false,
      stopOnTerminationSignals: false, // main.ts closes the database too
      formatError: maskFaults,
    });
    await apollo.start();
    route(app, apollo, database);
    await listen(server, port);
    let closed: Promise<void> | undefined;
    return {
      url: `http://localhost:${(server.address() as AddressInfo).port}/graphql`, // `as`: it listens on TCP
      location: database.location,
      close() {
        closed ??= apollo.stop().then(() => database.close());
        return closed;
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

function route(app: express.Express, apollo: ApolloServer<RequestContext>, database: ShopDatabase): void {
  const authenticate = createAuthenticator(database);
  app.disable("x-powered-by");
  app.disable("etag"); // it would hash every answer, and no client uses the hash
  app.get("/", (_request, response) => response.redirect("/graphql"));
  app.get("/healthz", healthz(database));
  app.get("/graphql", forbidOtherHosts);
  app.use(
    "/graphql",
    express.json({ limit: "100kb" }),
    expressMiddleware(apollo, {
      context: async ({ req: { headers } }) => ({
        customer: await authenticate(headers.authorization),
        idempotencyKey: headers["idempotency-key"],
      }),
    }),
  );
  app.use(answerBadRequest);
}

function healthz({ db, tables: { products } }: ShopDatabase): RequestHandler {
  return async (_request, response) => {
    try {
      await db.select({ id: products.id }).from(products).limit(1);
      response.json({ status: "ok" });
    } catch (error) {
      console.error(String(driverErrorOf(error)));
      response.status(503).json({ status: "unavailable" });
    }
  };
}

/** GraphiQL's page contains everything it needs. The header makes the browser refuse requests to other hosts. */
const forbidOtherHosts: RequestHandler = (_request, response, next) => {
  response.setHeader(
    "content-security-policy",
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; frame-ancestors 'none'",
  );
  next();
};

/** A body that is too large or isn't JSON never reaches Apollo Server. Express would answer with an HTML page. */
const answerBadRequest: ErrorRequestHandler = (error, _request, response, next) => {
  if (response.headersSent) return next(error);
  const { status = 500, expose = false, message } = error;
  if (!expose) console.error(error);
  const code = status < 500 ? "BAD_REQUEST" : "INTERNAL_SERVER_ERROR";
  const shown = expose ? `The request's body can't be used: ${message}.` : "Internal server error";
  response.status(status).json({ errors: [{ message: shown, extensions: { code } }] });
};

/** Logs an unexpected error. The client only learns that one occurred. */
function maskFaults(formatted: GraphQLFormattedError, error: unknown): GraphQLFormattedError {
  const fault = unwrapResolverError(error);
  switch (formatted.extensions?.code) {
    case "INTERNAL_SERVER_ERROR":
      console.error(driverErrorOf(fault));
      return { ...formatted, message: "Internal server error" };
    case "IDEMPOTENCY_STORE_UNAVAILABLE":
      // Thousands of these may occur at once, so the log gets no stack.
      console.error(
        String(fault),
        fault instanceof Error && fault.cause ? String(driverErrorOf(fault.cause)) : "",
      );
      return formatted;
    default:
      return formatted;
  }
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port);
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new Error(`The shop can't listen on port ${port}: ${reasonOf(cause)}`, { cause });
  }
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException; // `as`: what a server's "error" event carries
  if (code === "EADDRINUSE") return "another process uses it. Stop that one, or choose another port by PORT.";
  if (code === "EACCES") return "this user may not. Choose a port above 1023 by PORT.";
  return message;
}
