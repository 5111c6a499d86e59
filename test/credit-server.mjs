// A server on the built package, for tests that kill its process: node credit-server.mjs <database file>
import { fileURLToPath } from "node:url";
import { ApolloServer } from "@apollo/server";
import { startStandaloneServer } from "@apollo/server/standalone";
import { makeExecutableSchema } from "@graphql-tools/schema";
import { eq, sql } from "drizzle-orm";
import { idempotent, SHARED } from "graphql-idempotent";
import { idempotencyPlugin } from "graphql-idempotent/apollo-server";
import { openDatabase, sqliteStore } from "graphql-idempotent/sqlite";
import * as tables from "../examples/tables.mjs";

const { accounts } = tables;
const database = openDatabase(process.argv[2], {
  schema: tables,
  migrationsFolder: fileURLToPath(new URL("../examples/drizzle", import.meta.url)),
});
const idempotency = idempotent({ store: sqliteStore(database), scope: SHARED });

const typeDefs = `
  type Query {
    account(owner: ID!): Account
  }
  type Account {
    owner: ID!
    credits: Int!
  }
  type Mutation {
    credit(owner: ID!, amount: Int!, hold: Boolean = false, idempotencyKey: ID!): Account! @idempotent(ignore: ["hold"])
  }
`;

const resolvers = {
  Query: {
    account: (_root, { owner }) => database.db.select().from(accounts).where(eq(accounts.owner, owner)).get(),
  },
  Mutation: {
    async credit(_root, { owner, amount, hold }, { tx }) {
      const set = { credits: sql`${accounts.credits} + ${amount}` };
      const [account] = await tx
        .insert(accounts)
        .values({ owner, credits: amount })
        .onConflictDoUpdate({ target: accounts.owner, set })
        .returning();
      if (hold) {
        console.log("written");
        await new Promise(() => {});
      }
      return account;
    },
  },
};

const server = new ApolloServer({
  schema: idempotency.transform(
    makeExecutableSchema({ typeDefs: [idempotency.typeDefs, typeDefs], resolvers }),
  ),
  plugins: [idempotencyPlugin()],
});
const { url } = await startStandaloneServer(server, { listen: { port: 0, host: "127.0.0.1" } });
console.log(url);
