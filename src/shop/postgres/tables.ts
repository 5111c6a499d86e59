import { sql } from "drizzle-orm";
import { bigint, check, index, integer, pgTable, text } from "drizzle-orm/pg-core";

export { idempotencyRecords } from "graphql-idempotent/postgres";

// IDs are UUIDv7, so they sort by creation time. Money is in minor units (cents). Times are ISO 8601, UTC.
// The tables of ../sqlite/tables.ts have the same names, and rows of the same types.

export const customers = pgTable("customers", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  address: text("address"),
  /** SHA-256 of the bearer token: a reader of the table can't act as its customers. */
  tokenHash: text("token_hash").unique(),
});

export const accounts = pgTable(
  "accounts",
  {
    id: text("id").primaryKey(),
    customerId: text("customer_id")
      .notNull()
      .references(() => customers.id),
    balance: bigint("balance", { mode: "number" }).notNull(),
    currency: text("currency").notNull(),
  },
  (table) => [
    index("accounts_customer_id").on(table.customerId),
    check("accounts_balance_not_negative", sql`${table.balance} >= 0`),
  ],
);

export const products = pgTable(
  "products",
  {
    id: text("id").primaryKey(),
    name: text("name").notNull(),
    price: bigint("price", { mode: "number" }).notNull(),
    currency: text("currency").notNull(),
    stock: integer("stock").notNull(),
  },
  (table) => [check("products_stock_not_negative", sql`${table.stock} >= 0`)],
);

export const orders = pgTable(
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
    total: bigint("total", { mode: "number" }).notNull(),
    currency: text("currency").notNull(),
    status: text("status", { enum: ["PLACED", "CANCELLED"] }).notNull(),
    createdAt: text("created_at").notNull(),
  },
  (table) => [index("orders_customer_id").on(table.customerId, table.id)],
);

export const transfers = pgTable("transfers", {
  id: text("id").primaryKey(),
  fromAccountId: text("from_account_id")
    .notNull()
    .references(() => accounts.id),
  toAccountId: text("to_account_id")
    .notNull()
    .references(() => accounts.id),
  amount: bigint("amount", { mode: "number" }).notNull(),
  currency: text("currency").notNull(),
  createdAt: text("created_at").notNull(),
});

export const invoices = pgTable("invoices", {
  id: text("id").primaryKey(),
  number: text("number").notNull().unique(),
  orderId: text("order_id")
    .notNull()
    .references(() => orders.id),
  total: bigint("total", { mode: "number" }).notNull(),
  currency: text("currency").notNull(),
  issuedAt: text("issued_at").notNull(),
});
