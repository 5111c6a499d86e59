import type { DatabaseAddress } from "./configuration.ts";
import type { ShopDatabase } from "./database.ts";

/**
 * Opens the database, creates its tables and seeds it. Loads only the driver of the database's engine.
 *
 * @throws {Error} that says in one line why the database can't be used
 */
export async function openShopDatabase(
  address: DatabaseAddress,
  withDemoTokens: boolean,
): Promise<ShopDatabase> {
  if (address.kind === "sqlite") {
    const { openSqlite } = await import("./sqlite/database.ts");
    return openSqlite(address.file, withDemoTokens);
  }
  const { openPostgres } = await import("./postgres/database.ts");
  return openPostgres(address.url, withDemoTokens);
}
