import { createRequire } from "node:module";
import { defineConfig } from "vitest/config";

const { resolve } = createRequire(import.meta.url);
const here = (path: string) => new URL(path, import.meta.url).pathname;

export default defineConfig({
  resolve: {
    // The tests import the package by its name, as users do, and run its sources.
    alias: [
      // One copy of graphql for the sources and for packages: Node loads the CommonJS build, Vite would load the other.
      { find: /^graphql$/, replacement: resolve("graphql") },
      { find: /^graphql-idempotent$/, replacement: here("src/index.ts") },
      { find: /^graphql-idempotent\/(apollo-server)$/, replacement: here("src/servers/$1.ts") },
      { find: /^graphql-idempotent\/(sqlite|postgres)$/, replacement: here("src/stores/$1/index.ts") },
    ],
  },
  test: {
    // Use all CPUs: by default one stays free, which is half of a machine with two.
    maxWorkers: "100%",
    // Many tests start processes or compute a lot, also on busy machines.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    projects: [
      {
        extends: true,
        test: {
          name: "package",
          include: ["test/**/*.test.ts"],
          exclude: ["**/node_modules/**", "test/**/postgres/**"],
          typecheck: { enabled: true, include: ["test/**/*.test-d.ts"], tsconfig: "./tsconfig.json" },
        },
      },
      {
        // These tests share a PostgreSQL server, which starts only when one of them runs. The shop's tests run on
        // it too.
        extends: true,
        test: {
          name: "postgres",
          include: ["test/**/postgres/**/*.test.ts", "test/shop/*.test.ts"],
          exclude: ["**/node_modules/**", "test/shop/{configuration,graphiql,migrations}.test.ts"],
          globalSetup: ["test/stores/postgres/start-postgres.ts"],
        },
      },
    ],
  },
});
