// The tables of both examples. After a change: npx drizzle-kit generate --dialect sqlite --schema examples/tables.mjs --out examples/drizzle
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

export { idempotencyRecords } from "graphql-idempotent/sqlite";

export const accounts = sqliteTable("accounts", {
  owner: text("owner").primaryKey(),
  credits: integer("credits").notNull(),
});
