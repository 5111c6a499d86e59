import { createRequire } from "node:module";
import { defineConfig } from "vitest/config";

const { resolve } = createRequire(import.meta.url);
const here = (path: string) => new URL(path, import.meta.url).pathname;

export default defineConfig({
  resolve: {
    // The tests import the package by its name, as its users do, and run its sources.
    alias: [
      // One graphql for the sources and for packages: Node loads its CommonJS build, Vite would load another.
      { find: /^graphql$/, replacement: resolve("graphql") },
      { find: /^graphql-idempotent$/, replacement: here("src/index.ts") },
      { find: /^graphql-idempotent\/(apollo-server)$/, replacement: here("src/$1.ts") },
      { find: /^graphql-idempotent\/(sqlite)$/, replacement: here("src/$1/index.ts") },
    ],
  },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    typecheck: { enabled: true, include: ["test/**/*.test-d.ts"], tsconfig: "./tsconfig.json" },
  },
});
