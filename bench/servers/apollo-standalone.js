import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";

/** Apollo Server as its documentation starts it. */
export async function listenStandalone(schema, plugins) {
  const server = new ApolloServer({ schema, plugins });
  const { url } = await startStandaloneServer(server, {
    listen: { host: "127.0.0.1", port: 0 },
    context: async ({ req }) => ({ customer: req.headers.authorization }),
  });
  return { url, stop: () => server.stop() };
}
