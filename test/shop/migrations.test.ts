import { readdirSync, readFileSync } from "node:fs";
import {
  type DrizzleSnapshotJSON,
  type DrizzleSQLiteSnapshotJSON,
  generateDrizzleJson,
  generateMigration,
  generateSQLiteDrizzleJson,
  generateSQLiteMigration,
} from "drizzle-kit/api";
import { expect, it } from "vitest";
import * as postgres from "../../src/shop/postgres/tables.ts";
import * as sqlite from "../../src/shop/sqlite/tables.ts";

/** What drizzle-kit has noted of the tables with the last migration that it wrote. */
function lastSnapshot(folder: string): string {
  const meta = new URL(`../../${folder}/meta/`, import.meta.url);
  const last = readdirSync(meta)
    .filter((name) => name.endsWith("_snapshot.json"))
    .sort()
    .at(-1);
  return readFileSync(new URL(last ?? "", meta), "utf8");
}

it("the migrations for SQLite make the tables as the code has them", async () => {
  const made: DrizzleSQLiteSnapshotJSON = JSON.parse(lastSnapshot("drizzle"));
  expect(await generateSQLiteMigration(made, await generateSQLiteDrizzleJson(sqlite))).toEqual([]);
});

it("the migrations for PostgreSQL make the tables as the code has them", async () => {
  const made: DrizzleSnapshotJSON = JSON.parse(lastSnapshot("drizzle-postgres"));
  expect(await generateMigration(made, generateDrizzleJson(postgres))).toEqual([]);
});
