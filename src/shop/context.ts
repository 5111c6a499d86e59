import type { TransactionContext } from "graphql-idempotent";
import type { Customer, ShopTransaction } from "./database.ts";

/** The context of every request. */
export interface RequestContext {
  /** The customer who sent the request; undefined without a known token. */
  readonly customer: Customer | undefined;
  /** The `Idempotency-Key` request header. */
  readonly idempotencyKey: string | readonly string[] | undefined;
}

/** The context of resolvers, which run for customers only; see `requireCustomer`. */
export interface CustomerContext extends RequestContext {
  readonly customer: Customer;
}

/** The context of resolvers of `@idempotent` mutations. */
export interface IdempotentContext extends CustomerContext, TransactionContext<ShopTransaction> {}
