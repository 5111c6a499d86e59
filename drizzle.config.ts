import { defineConfig } from "drizzle-kit";

export default defineConfig({ dialect: "sqlite", schema: "./src/shop/sqlite/tables.ts", out: "./drizzle" });
