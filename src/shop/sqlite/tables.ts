import { sql } from "drizzle-orm";
import { check, index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

export { idempotencyRecords } from "graphql-idempotent/sqlite";

// IDs are UUIDv7, so they sort by creation time. Money is in minor units (cents). Times are ISO 8601, UTC.
// The tables of ../postgres/tables.ts have the same names, and rows of the same types.

export const customers = sqliteTable("customers", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  address: text("address"),
  /** SHA-256 of the bearer token: a reader of the file can't act as its customers. */
  tokenHash: text("token_hash").unique(),
});

export const accounts = sqliteTable(
  "accounts",
  {
    id: text("id").primaryKey(),
    customerId: text("customer_id")
      .notNull()
      .references(() => customers.id),
    balance: integer("balance").notNull(),
    currency: text("currency").notNull(),
  },
  (table) => [
    index("accounts_customer_id").on(table.customerId),
    check("accounts_balance_not_negative", sql`${table.balance} >= 0`),
  ],
);

export const products = sqliteTable(
  "products",
  {
    id: text("id").primaryKey(),
    name: text("name").notNull(),
    price: integer("price").notNull(),
    currency: text("currency").notNull(),
    stock: integer("stock").notNull(),
  },
  (table) => [check("products_stock_not_negative", sql`${table.stock} >= 0`)],
);

export const orders = sqliteTable(
  "orders",
  {
    id: text("id").primaryKey(),
    customerId: text("customer_id")
      .notNull()
      .references(() => customers.id),
    productId: text("product_id")
      .notNull()
      .references(() => products.id),
    quantity: integer("quantity").notNull(),
    note: text("note"),
    total: integer("total").notNull(),
    currency: text("currency").notNull(),
    status: text("status", { enum: ["PLACED", "CANCELLED"] }).notNull(),
    createdAt: text("created_at").notNull(),
  },
  (table) => [index("orders_customer_id").on(table.customerId, table.id)],
);

export const transfers = sqliteTable("transfers", {
  id: text("id").primaryKey(),
  fromAccountId: text("from_account_id")
    .notNull()
    .references(() => accounts.id),
  toAccountId: text("to_account_id")
    .notNull()
    .references(() => accounts.id),
  amount: integer("amount").notNull(),
  currency: text("currency").notNull(),
  createdAt: text("created_at").notNull(),
});

export const invoices = sqliteTable("invoices", {
  id: text("id").primaryKey(),
  number: text("number").notNull().unique(),
  orderId: text("order_id")
    .notNull()
    .references(() => orders.id),
  total: integer("total").notNull(),
  currency: text("currency").notNull(),
  issuedAt: text("issued_at").notNull(),
});
