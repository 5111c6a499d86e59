import { idempotencyPlugin } from "../../dist/servers/apollo-server.js";
import { listenExpress } from "./apollo-express.js";
import { listenStandalone } from "./apollo-standalone.js";
import { idempotentResolver, noop, plain, plainPrepared, write } from "./resolvers.js";

/**
 * Every server by its name. Each takes the settings of its trial, such as `{ file }`, and returns
 * `{ url, connections, close }`, where `connections` are those to SQLite.
 */
export const servers = {
  noop: standalone(noop),
  plain: standalone(plain),
  plainPrepared: standalone(plainPrepared),
  write: standalone(write),
  idempotent: standalone(idempotentResolver, [idempotencyPlugin()]),
  expressPlain: onExpress(plain),
  expressIdempotent: onExpress(idempotentResolver, [idempotencyPlugin()]),
  nodeIdempotencyMemory: peerOnExpress("nodeIdempotencyMemory"),
  nodeIdempotencyRedis: peerOnExpress("nodeIdempotencyRedis"),
  expressIdempotencyMemory: peerOnExpress("expressIdempotencyMemory"),
  expressIdempotencyRedis: peerOnExpress("expressIdempotencyRedis"),
  powertoolsRedis: peerOnExpress("powertoolsRedis"),
  dbos: peerOnExpress("dbos"),
  postgresPlain: onPostgres("plain"),
  postgresJsPlain: onPostgres("plainPostgresJs"),
  postgresIdempotent: onPostgres("idempotentResolver", [idempotencyPlugin()]),
  postgresJsIdempotent: onPostgres("idempotentPostgresJs", [idempotencyPlugin()]),
  postgresInsertFirst: onPostgres("insertFirst", [idempotencyPlugin()]),
  postgresDbos: onPostgres("dbos"),
};

function standalone(open, plugins = []) {
  return async (settings) => {
    const { schema, close, ...rest } = await open(settings);
    const { url, stop } = await listenStandalone(schema, plugins);
    return { ...rest, url, close: () => stop().then(close) };
  };
}

function onExpress(open, plugins = []) {
  return async (settings) => {
    const { schema, middleware, close, ...rest } = await open(settings);
    const { url, stop } = await listenExpress(schema, { plugins, middleware });
    return { ...rest, url, close: () => stop().then(close) };
  };
}

/** Peers are loaded only into the processes that run them. */
function peerOnExpress(name) {
  return async (settings) => {
    const peers = await import("./peers.js");
    return onExpress(peers[name])(settings);
  };
}

/** So are the servers on PostgreSQL, whose drivers no others need. */
function onPostgres(name, plugins = []) {
  return async (settings) => {
    const postgres = await import("./postgres.js");
    return standalone(postgres[name], plugins)(settings);
  };
}
