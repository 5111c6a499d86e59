// The peers, each as its documentation says to use it. In front of them all: the plain resolver, or its parts.
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { CachePersistenceLayer } from "@aws-lambda-powertools/idempotency/cache";
import { Idempotency } from "@node-idempotency/core";
import { MemoryStorageAdapter } from "@node-idempotency/storage-adapter-memory";
import { RedisStorageAdapter } from "@node-idempotency/storage-adapter-redis";
import { createClient } from "@redis/client";
import expressIdempotency from "express-idempotency";
import expressIdempotencyRedisAdapter from "express-idempotency-redis-adapter";
import { asWorkflow, launchDbos } from "./dbos.js";
import { plain, plainWith } from "./resolvers.js";

/** @node-idempotency/core with its storage in memory. Its Express package is not on npm. */
export async function nodeIdempotencyMemory(settings) {
  return { ...plain(settings), middleware: [nodeIdempotency(new MemoryStorageAdapter())] };
}

export async function nodeIdempotencyRedis({ redisUrl, ...settings }) {
  const storage = new RedisStorageAdapter({ url: redisUrl });
  await storage.connect();
  return closing({ ...plain(settings), middleware: [nodeIdempotency(storage)] }, () => storage.disconnect());
}

/** Its README: onRequest before the handler, onResponse when the answer is known, and then the answer goes out. */
function nodeIdempotency(storage) {
  const idempotency = new Idempotency(storage, {});

  return async function idempotencyMiddleware(req, res, next) {
    const request = { method: req.method, headers: req.headers, body: req.body, path: req.path };
    try {
      const stored = await idempotency.onRequest(request);
      if (stored) {
        res.status(stored.additional.status).type("json").send(stored.body);
        return;
      }
    } catch (error) {
      res.status(409).json({ errors: [{ message: error.message }] });
      return;
    }
    const send = res.send.bind(res);
    res.send = function sendOnceStored(body) {
      res.send = send;
      idempotency
        .onResponse(request, { body, additional: { status: res.statusCode } })
        .then(() => send(body), next);
      return res;
    };
    next();
  };
}

/** express-idempotency with its storage in memory, a list that it searches from the start for each request. */
export async function expressIdempotencyMemory(settings) {
  return { ...plain(settings), middleware: expressIdempotencyMiddleware({}) };
}

export async function expressIdempotencyRedis({ redisUrl, ...settings }) {
  const RedisAdapter = expressIdempotencyRedisAdapter.default;
  const dataAdapter = new RedisAdapter({ connectionConfig: { url: redisUrl } });
  await dataAdapter.connect();
  return closing({ ...plain(settings), middleware: expressIdempotencyMiddleware({ dataAdapter }) }, () =>
    dataAdapter.disconnect(),
  );
}

function expressIdempotencyMiddleware(options) {
  const middleware = expressIdempotency.idempotency(options);

  /** Its README: it calls the handler after a hit as well, which must ask. */
  function stopAfterHit(req, _res, next) {
    if (!expressIdempotency.getSharedIdempotencyService().isHit(req)) next();
  }

  return [middleware, stopAfterHit];
}

/** Powertools wraps the function that does the work. The key is the argument, and Redis keeps the record. */
export async function powertoolsRedis({ redisUrl, ...settings }) {
  const client = await createClient({ url: redisUrl }).connect();
  const config = new IdempotencyConfig({ eventKeyJmesPath: "idempotencyKey", throwOnNoIdempotencyKey: true });
  // Outside of Lambda it would warn on each call that it can't tell how much time is left.
  config.registerLambdaContext({ getRemainingTimeInMillis: () => 30_000 });
  const server = plainWith(settings, (createOrder) => {
    const idempotentOrder = makeIdempotent(async ({ input }) => createOrder(input), {
      persistenceStore: new CachePersistenceLayer({ client }),
      config,
      keyPrefix: "createOrder",
    });
    return (_root, args) => idempotentOrder(args);
  });
  return closing({ ...server, middleware: [] }, () => client.destroy());
}

/** DBOS, with its records in PostgreSQL. */
export async function dbos({ postgresUrl, ...settings }) {
  const server = plainWith(settings, asWorkflow);
  return closing({ ...server, middleware: [] }, await launchDbos({ postgresUrl }));
}

function closing(server, closeMore) {
  return {
    ...server,
    close: async () => {
      await closeMore();
      await server.close();
    },
  };
}
