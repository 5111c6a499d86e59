import type { TransactionContext } from "graphql-idempotent";
import type { Database, Transaction } from "graphql-idempotent/sqlite";
import type * as tables from "./tables.ts";

export type ShopDatabase = Database<typeof tables>;
export type ShopTransaction = Transaction<typeof tables>;

/** What every request has. */
export interface RequestContext {
  readonly database: ShopDatabase;
  /** Who asks; undefined when the request has no known token. */
  readonly customer: tables.Customer | undefined;
  /** The `Idempotency-Key` request header. */
  readonly idempotencyKey: string | readonly string[] | undefined;
}

/** What resolvers get: they run for customers only, see `requireCustomer`. */
export interface CustomerContext extends RequestContext {
  readonly customer: tables.Customer;
}

/** What resolvers of `@idempotent` mutations get. */
export interface IdempotentContext extends CustomerContext, TransactionContext<ShopTransaction> {}
