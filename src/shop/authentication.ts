import { hash } from "node:crypto";
import { eq, sql } from "drizzle-orm";
import type { GraphQLSchema } from "graphql";
import type { RequestContext } from "./context.ts";
import type { Customer, ShopDatabase } from "./database.ts";
import { databaseUnavailable, unauthenticated } from "./errors.ts";
import { checkRootFields } from "./root-fields.ts";

/** Makes the function that finds the customer of an `Authorization: Bearer <token>` header. */
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

/** Tokens are long and random outside of the demo, so a fast hash is enough. */
export function tokenHash(token: string): string {
  return hash("sha256", token, "base64url");
}

/**
 * Lets only customers at the fields of Query and Mutation. It goes around what `@idempotent` has wrapped, so
 * that a replay is as protected as a first call.
 */
export function requireCustomer(schema: GraphQLSchema): GraphQLSchema {
  return checkRootFields<RequestContext>(schema, (_args, { customer }) => {
    if (!customer) throw unauthenticated();
  });
}
