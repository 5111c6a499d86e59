import type { InferSelectModel } from "drizzle-orm";
import type { PgDatabase, PgQueryResultHKT } from "drizzle-orm/pg-core";
import type { Store } from "graphql-idempotent";
import type * as postgresTables from "./postgres/tables.ts";

/**
 * The shop's database, on either engine: `sqlite/` and `postgres/` each open one.
 *
 * Its types are those of Drizzle's PostgreSQL dialect, without a driver. They only allow queries to be awaited, and
 * the result of a statement without `returning()` is unknown, so code that compiles against them runs on both.
 */
export interface ShopDatabase {
  readonly tables: Tables;
  /** For queries. It sees committed data only; inside a transaction, read through `tx`. */
  readonly db: ShopReader;
  readonly store: Store<ShopTransaction>;
  /** The database's location as shown to people, without a password. */
  readonly location: string;
  /** Call it after all calls have ended. */
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
