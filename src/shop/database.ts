import type { InferSelectModel } from "drizzle-orm";
import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";
import type { Store } from "graphql-idempotent";
import type { DatabaseAddress } from "./configuration.ts";
import type * as postgresTables from "./postgres/tables.ts";

/**
 * What the shop knows of its database: `sqlite/` and `postgres/` open one each.
 *
 * Its types are those of Drizzle's PostgreSQL dialect, of no driver in particular. Such a query can only be
 * awaited, and what a statement without `returning()` gives is unknown: what is written with them runs on both.
 */
export interface ShopDatabase {
  readonly tables: Tables;
  /** For queries. It sees what has been committed; inside a transaction, read through `tx`. */
  readonly db: ShopReader;
  readonly store: Store<ShopTransaction>;
  /** Where it is, for people to read; without a password. */
  readonly location: string;
  /** When all calls are over. */
  close(): Promise<void>;
}

type AnyDatabase = PgDatabase<PgQueryResultHKT>;
export type ShopReader = Pick<AnyDatabase, "select">;
export type ShopTransaction = Pick<AnyDatabase, "select" | "insert" | "update">;

export type Tables = typeof postgresTables;
export type Customer = InferSelectModel<Tables["customers"]>;
export type Account = InferSelectModel<Tables["accounts"]>;
export type Product = InferSelectModel<Tables["products"]>;
export type Order = InferSelectModel<Tables["orders"]>;
export type Transfer = InferSelectModel<Tables["transfers"]>;
export type Invoice = InferSelectModel<Tables["invoices"]>;

/**
 * Opens the database with its tables and what they begin with. Loads the driver of its engine, and no other.
 *
 * @throws {Error} that says in one line why it can't be used
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
