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
      { find: /^graphql-idempotent\/(apollo-server)$/, replacement: here("src/servers/$1.ts") },
      { find: /^graphql-idempotent\/(sqlite|postgres)$/, replacement: here("src/stores/$1/index.ts") },
    ],
  },
  test: {
    // All of the CPUs: by default one stays free, which of two is half of the machine.
    maxWorkers: "100%",
    // Many start processes, or work hard, also on machines that are busy with other things.
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
        // These share a PostgreSQL server, which is started when one of them is to run. The tests of the shop run
        // on it too.
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
