import type { TransactionContext } from "graphql-idempotent";
import type { Customer, ShopTransaction } from "./database.ts";

/** What every request has. */
export interface RequestContext {
  /** Who asks; undefined when the request has no known token. */
  readonly customer: Customer | undefined;
  /** The `Idempotency-Key` request header. */
  readonly idempotencyKey: string | readonly string[] | undefined;
}

/** What resolvers get: they run for customers only, see `requireCustomer`. */
export interface CustomerContext extends RequestContext {
  readonly customer: Customer;
}

/** What resolvers of `@idempotent` mutations get. */
export interface IdempotentContext extends CustomerContext, TransactionContext<ShopTransaction> {}
