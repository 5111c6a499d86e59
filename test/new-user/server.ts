import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import { makeExecutableSchema } from "@graphql-tools/schema";
import { idempotent, type TransactionContext } from "graphql-idempotent";
import { idempotencyPlugin } from "graphql-idempotent/apollo-server";
import { openDatabase, sqliteStore, type Transaction } from "graphql-idempotent/sqlite";
import * as tables from "./tables.js";

// A server as somebody makes it who has read the README and PROTOCOL.md, and nothing else.

interface Context {
  readonly guest: string;
  readonly idempotencyKey: string | undefined;
}

const database = openDatabase("bookings.db", { schema: tables, migrationsFolder: "drizzle" });

const idempotency = idempotent({
  store: sqliteStore(database),
  scope: (context: Context) => context.guest,
  header: (context: Context) => context.idempotencyKey,
});

const sdl = `
  type Query {
    bookings: [Booking!]!
  }
  type Booking {
    id: ID!
    seat: String!
  }
  type Mutation {
    book(seat: String!): Booking! @idempotent
  }
`;

const resolvers = {
  Query: { bookings: () => database.db.select().from(tables.bookings) },
  Mutation: {
    async book(
      _root: unknown,
      { seat }: { seat: string },
      { guest, tx }: Context & TransactionContext<Transaction<typeof tables>>,
    ) {
      return (await tx.insert(tables.bookings).values({ guest, seat }).returning())[0];
    },
  },
};

const schema = idempotency.transform(
  makeExecutableSchema({ typeDefs: [idempotency.typeDefs, sdl], resolvers }),
);
const server = new ApolloServer<Context>({ schema, plugins: [idempotencyPlugin()] });
const { url } = await startStandaloneServer(server, {
  listen: { port: 0, host: "127.0.0.1" },
  context: async ({ req }) => ({
    guest: req.headers.authorization ?? "nobody",
    idempotencyKey: req.headers["idempotency-key"]?.toString(),
  }),
});
console.log(url);
