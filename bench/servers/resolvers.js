// What a trial puts behind the mutation: each returns a schema, its SQLite connections, and how to close it.
import { makeExecutableSchema } from "@graphql-tools/schema";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { idempotent } from "../../dist/index.js";
import { openDatabase, sqliteStore } from "../../dist/stores/sqlite/index.js";
import { constantOrder, openConnection, prepareTakeOrder, schema, takeOrder, typeDefs } from "../work.js";

/** How often a resolver did the work, to be held against the number of answers. */
export const executed = { count: 0 };

export function counted(work) {
  executed.count++;
  return work();
}

export function executable(createOrder, { directive = "", definitions = [] } = {}) {
  return makeExecutableSchema({
    typeDefs: [...definitions, typeDefs.replace("DIRECTIVE", directive)],
    resolvers: {
      Query: { ready: () => true },
      Mutation: { createOrder },
    },
  });
}

/** No database at all: what HTTP, Apollo Server and GraphQL cost by themselves. */
export function noop() {
  return { schema: executable(() => counted(() => constantOrder)), connections: {}, close() {} };
}

/** The ordinary resolver of a Drizzle user: one transaction, so one commit, a call. */
export function plain(settings) {
  return plainWith(
    settings,
    (createOrder) =>
      (_root, { input }) =>
        createOrder(input),
  );
}

/** The same work behind what `wrap` makes of it. */
export function plainWith({ file }, wrap) {
  const connection = openConnection(file);
  const db = drizzle(connection, { schema });
  return {
    schema: executable(wrap((input) => counted(() => db.transaction((tx) => takeOrder(tx, input))))),
    connections: { only: connection },
    close: () => connection.close(),
  };
}

/** The same with statements that are prepared once, as a user does who has measured. */
export function plainPrepared({ file }) {
  const connection = openConnection(file);
  const db = drizzle(connection, { schema });
  const takeOrderPrepared = prepareTakeOrder(db);
  return {
    schema: executable((_root, { input }) => counted(() => db.transaction(() => takeOrderPrepared(input)))),
    connections: { only: connection },
    close: () => connection.close(),
  };
}

/** The same resolver as `plain`, in the package's writer, without a key. */
export function write({ file }) {
  const { database, connections } = openWithConnections(file);
  return {
    schema: executable((_root, { input }) => database.write((tx) => counted(() => takeOrder(tx, input)))),
    connections,
    close: () => database.close(),
  };
}

/** The same resolver as `plain`, annotated. */
export function idempotentResolver({ file, store: storeOptions = {} }) {
  const { database, connections } = openWithConnections(file);
  const store = sqliteStore(database, storeOptions);
  const idempotency = idempotent({ store, scope: (context) => context.customer });
  return {
    schema: idempotency.transform(
      executable((_root, { input }, { tx }) => counted(() => takeOrder(tx, input)), {
        directive: "@idempotent",
        definitions: [idempotency.typeDefs],
      }),
    ),
    connections,
    purge: () => store.purge(),
    close: () => database.close(),
  };
}

function openWithConnections(file) {
  const connections = {};
  const database = openDatabase(file, {
    schema,
    configure: (connection) => {
      connections[connection.readonly ? "reader" : "writer"] = connection;
    },
  });
  return { database, connections };
}
