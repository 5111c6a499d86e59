import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

export { idempotencyRecords } from "graphql-idempotent/sqlite";

export const bookings = sqliteTable("bookings", {
  id: integer("id").primaryKey({ autoIncrement: true }),
  guest: text("guest").notNull(),
  seat: text("seat").notNull(),
});
