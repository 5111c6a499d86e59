import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: "./src/shop/postgres/tables.ts",
  out: "./drizzle-postgres",
});
