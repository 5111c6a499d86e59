// An order behind a peer of this package, or behind nothing: node server.js PEER FILE REDIS_URL
// The peers are those of the benchmark, used as their documentation says to.
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { ApolloServer } from "@apollo/server";
import { expressMiddleware } from "@as-integrations/express5";
import Sqlite from "better-sqlite3";
import express from "express";

const [peer, file, redisUrl] = process.argv.slice(2);
const benchRequire = createRequire(new URL("../../../bench/package.json", import.meta.url));
const fromBench = (name) => import(pathToFileURL(benchRequire.resolve(name)));

const middlewares = {
  plain: async () => [],

  async "express-idempotency"() {
    const { default: expressIdempotency } = await fromBench("express-idempotency");
    const { default: adapters } = await fromBench("express-idempotency-redis-adapter");
    const dataAdapter = new adapters.default({ connectionConfig: { url: redisUrl } });
    await dataAdapter.connect();
    const service = () => expressIdempotency.getSharedIdempotencyService();
    return [
      expressIdempotency.idempotency({ dataAdapter }),
      (req, _res, next) => service().isHit(req) || next(),
    ];
  },

  async "node-idempotency"() {
    const { Idempotency } = await fromBench("@node-idempotency/core");
    const { RedisStorageAdapter } = await fromBench("@node-idempotency/storage-adapter-redis");
    const storage = new RedisStorageAdapter({ url: redisUrl });
    await storage.connect();
    const idempotency = new Idempotency(storage, {});
    return [
      async function idempotencyMiddleware(req, res, next) {
        const request = { method: req.method, headers: req.headers, body: req.body, path: req.path };
        try {
          const stored = await idempotency.onRequest(request);
          if (stored) return res.status(stored.additional.status).type("json").send(stored.body);
        } catch (error) {
          return res.status(409).json({ errors: [{ message: error.message }] });
        }
        const send = res.send.bind(res);
        res.send = (body) => {
          res.send = send;
          const response = { body, additional: { status: res.statusCode } };
          idempotency.onResponse(request, response).then(() => send(body), next);
          return res;
        };
        next();
      },
    ];
  },
};

const connection = new Sqlite(file);
connection.pragma("journal_mode = WAL");
connection.pragma("synchronous = FULL");
connection.exec(
  "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, note TEXT, quantity INTEGER, created_at TEXT)",
);
const insert = connection.prepare("INSERT INTO orders VALUES (@id, @note, @quantity, @createdAt)");

const apollo = new ApolloServer({
  typeDefs: `
    type Query { ready: Boolean }
    type Mutation { createOrder(input: CreateOrderInput!, idempotencyKey: ID!): Order! }
    input CreateOrderInput { productId: ID! quantity: Int! note: String }
    type Order { id: ID! quantity: Int! note: String total: Money! createdAt: String! }
    type Money { amount: Int! }`,
  resolvers: {
    Mutation: {
      createOrder(_root, { input: { quantity, note } }) {
        const order = { id: randomUUID(), note, quantity, createdAt: new Date().toISOString() };
        insert.run(order);
        return { ...order, total: { amount: quantity } };
      },
    },
  },
});
await apollo.start();
const app = express();
app.post("/graphql", express.json(), ...(await middlewares[peer]()), expressMiddleware(apollo));
const server = app.listen(0, "127.0.0.1");
await once(server, "listening");
process.on("SIGTERM", () => process.exit(0));
console.log(`The server is open: http://127.0.0.1:${server.address().port}/graphql`);
