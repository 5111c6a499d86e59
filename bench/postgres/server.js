// The process of one API server on PostgreSQL: Apollo Server standalone, and behind it what its trial names.
import { makeExecutableSchema } from "@graphql-tools/schema";
import { drizzle } from "drizzle-orm/node-postgres";
import { drizzle as drizzlePostgresJs } from "drizzle-orm/postgres-js";
import pg from "pg";
import postgres from "postgres";
import { idempotencyPlugin } from "../../dist/apollo-server.js";
import { idempotent } from "../../dist/index.js";
import { postgresStore } from "../../dist/postgres/index.js";
import { parameters, serveParent } from "../child.js";
import { listenStandalone } from "../servers/apollo-standalone.js";
import { typeDefs } from "../work.js";
import { insertFirstStore } from "./insert-first.js";
import { schema, takeOrder } from "./work.js";

const { server, url: postgresUrl, connections } = parameters();
let executed = 0;

function work(tx, input) {
  executed++;
  return takeOrder(tx, input);
}

const servers = {
  plain: () => plainOver(overNodePostgres()),
  plainPostgresJs: () => plainOver(overPostgresJs()),
  protected: () => protectedBy(({ db }) => postgresStore(db), overNodePostgres()),
  protectedPostgresJs: () => protectedBy(({ db }) => postgresStore(db), overPostgresJs()),
  insertFirst: () => protectedBy(({ db }) => insertFirstStore(db), overNodePostgres()),
  dbos,
};

function overNodePostgres() {
  const pool = new pg.Pool({ connectionString: postgresUrl, max: connections, idleTimeoutMillis: 0 });
  return { db: drizzle(pool, { schema }), close: () => pool.end() };
}

function overPostgresJs() {
  const client = postgres(postgresUrl, { max: connections });
  return { db: drizzlePostgresJs(client, { schema }), close: () => client.end() };
}

/** The ordinary resolver of a Drizzle user: one transaction. */
function plainOver({ db, close }) {
  return {
    schema: executable((_root, { input }) => db.transaction((tx) => work(tx, input))),
    close,
  };
}

/** The same work, annotated. */
function protectedBy(storeOf, { db, close }) {
  const idempotency = idempotent({ store: storeOf({ db }), scope: (context) => context.customer });
  return {
    schema: idempotency.transform(
      executable((_root, { input }, { tx }) => work(tx, input), "@idempotent", [idempotency.typeDefs]),
    ),
    plugins: [idempotencyPlugin()],
    close,
  };
}

/** DBOS: a workflow whose ID is the key; its one step is the plain transaction. Its records are in the same server. */
async function dbos() {
  const { DBOS } = await import("@dbos-inc/dbos-sdk");
  const { db, close } = overNodePostgres();
  DBOS.setConfig({
    name: "bench",
    systemDatabaseUrl: postgresUrl,
    systemDatabasePoolSize: connections,
    logLevel: "error",
  });
  const workflow = DBOS.registerWorkflow(
    (input) => DBOS.runStep(() => db.transaction((tx) => work(tx, input)), { name: "createOrder" }),
    { name: "createOrder" },
  );
  await DBOS.launch();
  return {
    schema: executable(async (_root, { input, idempotencyKey }) => {
      const handle = await DBOS.startWorkflow(workflow, { workflowID: idempotencyKey })(input);
      return handle.getResult();
    }),
    close: () => DBOS.shutdown().then(close),
  };
}

function executable(createOrder, directive = "", definitions = []) {
  return makeExecutableSchema({
    typeDefs: [...definitions, typeDefs.replace("DIRECTIVE", directive)],
    resolvers: { Query: { ready: () => true }, Mutation: { createOrder } },
  });
}

const { close, schema: graphqlSchema, plugins = [] } = await servers[server]();
const { url, stop } = await listenStandalone(graphqlSchema, plugins);
let mark;

function startMeters() {
  mark = { cpu: process.cpuUsage(), executed };
}

function readMeters() {
  const { user, system } = process.cpuUsage(mark.cpu);
  return { cpuSeconds: (user + system) / 1e6, executed: executed - mark.executed };
}

serveParent({ url }, { startMeters, readMeters }, () => stop().then(close));
