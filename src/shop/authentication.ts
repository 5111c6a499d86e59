import { eq, sql } from "drizzle-orm";
import type { GraphQLSchema } from "graphql";
import type { RequestContext } from "./context.ts";
import type { Customer, ShopDatabase } from "./database.ts";
import { databaseUnavailable, unauthenticated } from "./errors.ts";
import { checkRootFields } from "./root-fields.ts";
import { tokenHash } from "./token.ts";

/** Creates the function that finds the customer of an `Authorization: Bearer <token>` header. */
export function createAuthenticator({ db, tables: { customers } }: ShopDatabase) {
  const byToken = db
    .select()
    .from(customers)
    .where(eq(customers.tokenHash, sql.placeholder("tokenHash")))
    .prepare("customer_by_token");

  return async function authenticate(authorization: string | undefined): Promise<Customer | undefined> {
    const token = /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
    if (token === undefined) return undefined;
    try {
      const [customer] = await byToken.execute({ tokenHash: tokenHash(token) });
      return customer;
    } catch (cause) {
      throw databaseUnavailable(cause);
    }
  };
}

/**
 * Lets only customers call the fields of Query and Mutation. Apply it after `@idempotent`, so that a replay is as
 * protected as a first call.
 */
export function requireCustomer(schema: GraphQLSchema): GraphQLSchema {
  return checkRootFields<RequestContext>(schema, (_args, { customer }) => {
    if (!customer) throw unauthenticated();
  });
}
