import { defineConfig } from "drizzle-kit";

// After a change of the tables: npx drizzle-kit generate --config test/torture/bank/drizzle.config.ts
export default defineConfig({
  dialect: "sqlite",
  schema: "./test/torture/bank/tables.ts",
  out: "./test/torture/bank/migrations",
});
