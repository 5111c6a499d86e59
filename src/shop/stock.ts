import { and, eq, gte, sql } from "drizzle-orm";
import type { ShopTransaction, Tables } from "./database.ts";
import { notFound, outOfStock, type ShopError } from "./errors.ts";

type Products = Tables["products"];

export interface Price {
  readonly price: number;
  readonly currency: string;
}

/**
 * Checks the stock of a product and takes from it in one statement.
 *
 * @throws {ShopError} OUT_OF_STOCK, or NOT_FOUND for an unknown product
 */
export async function takeStock(
  tx: ShopTransaction,
  products: Products,
  productId: string,
  quantity: number,
): Promise<Price> {
  const [taken] = await tx
    .update(products)
    .set({ stock: sql`${products.stock} - ${quantity}` })
    .where(and(eq(products.id, productId), gte(products.stock, quantity)))
    .returning({ price: products.price, currency: products.currency });
  if (!taken) throw await refusal(tx, products, productId, quantity);
  return taken;
}

async function refusal(
  tx: ShopTransaction,
  products: Products,
  productId: string,
  quantity: number,
): Promise<ShopError> {
  const [product] = await tx.select().from(products).where(eq(products.id, productId));
  return product ? outOfStock(quantity, product.stock) : notFound("product", productId);
}

/** Returns a cancelled order's quantity to the stock. */
export async function returnStock(
  tx: ShopTransaction,
  products: Products,
  productId: string,
  quantity: number,
): Promise<void> {
  await tx
    .update(products)
    .set({ stock: sql`${products.stock} + ${quantity}` })
    .where(eq(products.id, productId));
}
