// What a trial on PostgreSQL puts behind the mutation. The trials share one database; `postgresConnections` of
// each server's pool are shared by its processes.
import { drizzle } from "drizzle-orm/node-postgres";
import { drizzle as drizzlePostgresJs } from "drizzle-orm/postgres-js";
import pg from "pg";
import postgres from "postgres";
import { idempotent } from "../../dist/index.js";
import { postgresStore } from "../../dist/stores/postgres/index.js";
import { schema, takeOrder } from "../postgres-work.js";
import { insertFirstStore } from "./insert-first.js";
import { counted, executable } from "./resolvers.js";

/** The ordinary resolver of a Drizzle user: one transaction. */
export function plain(settings) {
  return plainOver(overNodePostgres(settings));
}

export function plainPostgresJs(settings) {
  return plainOver(overPostgresJs(settings));
}

function plainOver({ db, close }) {
  return { ...opened(executable((_root, { input }) => takeInTransaction(db, input))), close };
}

function takeInTransaction(db, input) {
  return db.transaction((tx) => counted(() => takeOrder(tx, input)));
}

/** The same work, annotated. */
export function idempotentResolver(settings) {
  return idempotentOver(overNodePostgres(settings), (db) => postgresStore(db, settings.store));
}

export function idempotentPostgresJs(settings) {
  return idempotentOver(overPostgresJs(settings), (db) => postgresStore(db, settings.store));
}

export function insertFirst(settings) {
  return idempotentOver(overNodePostgres(settings), insertFirstStore);
}

function idempotentOver({ db, close }, storeOf) {
  const store = storeOf(db);
  const idempotency = idempotent({ store, scope: (context) => context.customer });
  const annotated = executable((_root, { input }, { tx }) => counted(() => takeOrder(tx, input)), {
    directive: "@idempotent",
    definitions: [idempotency.typeDefs],
  });
  return { ...opened(idempotency.transform(annotated)), purge: () => store.purge(), close };
}

/** DBOS: the plain transaction as the step of a workflow, whose records are in the same server. */
export async function dbos(settings) {
  const { asWorkflow, launchDbos } = await import("./dbos.js");
  const { db, close } = overNodePostgres(settings);
  const createOrder = asWorkflow((input) => takeInTransaction(db, input));
  const shutDown = await launchDbos(settings);
  return { ...opened(executable(createOrder)), close: () => shutDown().then(close) };
}

/** These servers have no connections to SQLite. */
function opened(graphqlSchema) {
  return { schema: graphqlSchema, connections: {} };
}

function overNodePostgres(settings) {
  const pool = new pg.Pool({
    connectionString: settings.postgresUrl,
    max: poolSize(settings),
    idleTimeoutMillis: 0,
  });
  return { db: drizzle(pool, { schema }), close: () => pool.end() };
}

function overPostgresJs(settings) {
  const client = postgres(settings.postgresUrl, { max: poolSize(settings) });
  return { db: drizzlePostgresJs(client, { schema }), close: () => client.end() };
}

function poolSize({ postgresConnections, processes }) {
  return Math.ceil(postgresConnections / processes);
}
