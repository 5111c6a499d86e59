import { HeaderMap } from "@apollo/server";
import { GraphQLError } from "graphql";
import { IdempotencyError } from "graphql-idempotent";

/** The `extensions.code` of an error of the shop. */
export type ShopErrorCode =
  | "BAD_USER_INPUT"
  | "INSUFFICIENT_FUNDS"
  | "INVOICE_NUMBER_TAKEN"
  | "NOT_FOUND"
  | "OUT_OF_STOCK"
  | "UNAUTHENTICATED";

/** An error for the client. Its message says what was required, what was received and what to do. */
export class ShopError extends GraphQLError {
  constructor(code: ShopErrorCode, message: string) {
    super(message, { extensions: { code } });
    this.name = "ShopError";
  }
}

export function unauthenticated(): ShopError {
  return new ShopError(
    "UNAUTHENTICATED",
    "This field requires a customer, but no known token was sent. Send the header Authorization: Bearer <token>.",
  );
}

/** The error of a protected mutation whose store fails, for a request that fails before its mutation. */
export function databaseUnavailable(cause: unknown): IdempotencyError {
  const error = new IdempotencyError(
    "IDEMPOTENCY_STORE_UNAVAILABLE",
    "The database can't be used right now. Retry with the same key.",
    { cause },
  );
  Object.assign(error.extensions, { http: { status: 503, headers: new HeaderMap([["retry-after", "1"]]) } });
  return error;
}

/** Also for objects of another customer, so that their existence isn't revealed. */
export function notFound(what: string, id: string): ShopError {
  return new ShopError(
    "NOT_FOUND",
    `There is no ${what} with the ID ${quoted(id)} among those you may use. Check the ID.`,
  );
}

export function badUserInput(message: string): ShopError {
  return new ShopError("BAD_USER_INPUT", message);
}

export function outOfStock(quantity: number, stock: number): ShopError {
  return new ShopError(
    "OUT_OF_STOCK",
    `The order asks for ${quantity}, but there are ${stock} in stock. Order fewer, or try again later.`,
  );
}

/** Leaves out the balance, because the error may be logged. */
export function insufficientFunds(amount: number, currency: string): ShopError {
  return new ShopError(
    "INSUFFICIENT_FUNDS",
    `The transfer needs ${amount} minor units of ${currency}, which is more than the account's balance. Transfer less, or pay money in first.`,
  );
}

export function invoiceNumberTaken(number: string): ShopError {
  return new ShopError(
    "INVOICE_NUMBER_TAKEN",
    `The number ${quoted(number)} is that of another invoice. Issue this one under a new number, with a new idempotency key.`,
  );
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}
