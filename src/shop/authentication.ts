import { hash } from "node:crypto";
import { MapperKind, mapSchema } from "@graphql-tools/utils";
import { eq, sql } from "drizzle-orm";
import { defaultFieldResolver, type GraphQLFieldConfig, type GraphQLSchema } from "graphql";
import type { RequestContext, ShopDatabase } from "./context.ts";
import { unauthenticated } from "./errors.ts";
import { type Customer, customers } from "./tables.ts";

/** Makes the function that finds the customer of an `Authorization: Bearer <token>` header. */
export function createAuthenticator(
  database: ShopDatabase,
): (authorization: string | undefined) => Customer | undefined {
  const byToken = database.db
    .select()
    .from(customers)
    .where(eq(customers.tokenHash, sql.placeholder("tokenHash")))
    .prepare();

  return function authenticate(authorization) {
    const token = /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
    return token === undefined ? undefined : byToken.get({ tokenHash: tokenHash(token) });
  };
}

/** Tokens are long and random outside of the demo, so a fast hash is enough. */
export function tokenHash(token: string): string {
  return hash("sha256", token, "base64url");
}

/**
 * Lets only customers at the fields of Query and Mutation. It goes around what `@idempotent` has wrapped, so
 * that a replay is as protected as a first call.
 */
export function requireCustomer(schema: GraphQLSchema): GraphQLSchema {
  return mapSchema(schema, {
    [MapperKind.ROOT_FIELD]: (config: GraphQLFieldConfig<unknown, RequestContext>) => {
      const resolve = config.resolve ?? defaultFieldResolver;
      return {
        ...config,
        resolve: function customersResolver(root, args, context, info) {
          if (!context.customer) throw unauthenticated();
          return resolve(root, args, context, info);
        },
      };
    },
  });
}
