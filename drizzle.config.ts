import { defineConfig } from "drizzle-kit";

export default defineConfig({ dialect: "sqlite", schema: "./src/shop/tables.ts", out: "./drizzle" });
