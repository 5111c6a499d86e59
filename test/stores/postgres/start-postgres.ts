import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { postgresPrograms } from "./postgres-programs.ts";
import { initialise, startServer } from "./postgres-server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The URL of a PostgreSQL server, without a database. */
    readonly postgresUrl: string;
  }
}

/** Starts a PostgreSQL server for all tests that need one, and returns a function that stops it. */
export default async function startPostgres(project: TestProject): Promise<() => Promise<void>> {
  const programs = await postgresPrograms();
  const dataFolder = join(programs.folder, "data");
  await initialise(programs, dataFolder);
  const server = await startServer(programs, dataFolder, { max_connections: 200 });
  project.provide("postgresUrl", server.url);
  return async () => {
    await server.stop();
    await programs[Symbol.asyncDispose]();
  };
}
