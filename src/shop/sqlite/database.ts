import { fileURLToPath } from "node:url";
import { openDatabase, sqliteStore } from "graphql-idempotent/sqlite";
import type { ShopDatabase } from "../database.ts";
import { seed } from "../seed.ts";
import * as tables from "./tables.ts";

const migrationsFolder = fileURLToPath(new URL("../../../drizzle", import.meta.url));

/** @throws {Error} that says in one line why the file can't be used */
export async function openSqlite(file: string, hasDemoTokens: boolean): Promise<ShopDatabase> {
  const sqlite = openDatabase(file, { schema: tables, migrationsFolder });
  // `as`: ShopDatabase only uses Drizzle's awaited queries, which are the same in both dialects.
  // test/shop/tables.test-d.ts checks that the rows of both engines have the same types.
  const database = {
    tables,
    db: sqlite.db,
    store: sqliteStore(sqlite),
    location: sqlite.file,
    close: sqlite.close,
  } as unknown as ShopDatabase;
  try {
    await database.store.write((tx) => seed(tx, database.tables, hasDemoTokens));
  } catch (error) {
    await database.close();
    throw error;
  }
  return database;
}
