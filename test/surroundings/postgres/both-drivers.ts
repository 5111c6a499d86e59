import { describe } from "vitest";
import { connectNodePostgres, connectPostgresJs } from "../../stores/postgres/connect.ts";
import type { Connect, Tx } from "../../stores/postgres/postgres-suite.ts";

/** Runs tests over each driver. */
export function onBothDrivers(suite: <OwnTx extends Tx>(connect: Connect<OwnTx>) => void): void {
  describe("over node-postgres", () => suite(connectNodePostgres));
  describe("over postgres.js", () => suite(connectPostgresJs));
}
