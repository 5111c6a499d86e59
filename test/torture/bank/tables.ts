import { index, integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

export { idempotencyRecords } from "graphql-idempotent/sqlite";

export const accounts = sqliteTable("accounts", {
  id: text("id").primaryKey(),
  balance: integer("balance").notNull(),
});

/** The effects. Nothing here is unique by key: a duplicate must be able to show. */
export const transfers = sqliteTable(
  "transfers",
  {
    id: integer("id").primaryKey({ autoIncrement: true }),
    key: text("key").notNull(),
    from: text("from_account")
      .notNull()
      .references(() => accounts.id),
    to: text("to_account")
      .notNull()
      .references(() => accounts.id),
    amount: integer("amount").notNull(),
    memo: text("memo").notNull(),
  },
  (table) => [index("transfers_key").on(table.key)],
);
