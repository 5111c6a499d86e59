import { once } from "node:events";
import { ApolloServer } from "@apollo/server";
import { ApolloServerPluginDrainHttpServer } from "@apollo/server/plugin/drainHttpServer";
import { expressMiddleware } from "@as-integrations/express5";
import express from "express";

/** Apollo Server on Express 5, with what a peer puts in front of it. */
export async function listenExpress(schema, { plugins = [], middleware = [] } = {}) {
  const app = express();
  const httpServer = app.listen(0, "127.0.0.1");
  const server = new ApolloServer({
    schema,
    plugins: [...plugins, ApolloServerPluginDrainHttpServer({ httpServer })],
  });
  await server.start();
  app.post(
    "/graphql",
    express.json(),
    ...middleware,
    expressMiddleware(server, { context: async ({ req }) => ({ customer: req.headers.authorization }) }),
  );
  if (!httpServer.listening) await once(httpServer, "listening");
  const url = `http://127.0.0.1:${httpServer.address().port}/graphql`;
  return { url, stop: () => server.stop() };
}
