import { fileURLToPath } from "node:url";
import { openDatabase, sqliteStore } from "graphql-idempotent/sqlite";
import type { ShopDatabase } from "../database.ts";
import { seed } from "../seed.ts";
import * as tables from "./tables.ts";

const migrationsFolder = fileURLToPath(new URL("../../../drizzle", import.meta.url));

/** @throws {Error} that says in one line why the file can't be used */
export async function openSqlite(file: string, hasDemoTokens: boolean): Promise<ShopDatabase> {
  const sqlite = openDatabase(file, { schema: tables, migrationsFolder });
  // `as`: all that ShopDatabase knows of Drizzle, its queries that are awaited, is the same in both dialects; and
  // that the rows of both engines have the same types is held by test/shop/tables.test-d.ts.
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
