// The work of every trial on PostgreSQL: take stock of a product by one UPDATE, insert one order.
import { generateDrizzleJson, generateMigration } from "drizzle-kit/api";
import { and, eq, gte, sql } from "drizzle-orm";
import { bigint, integer, pgTable, text } from "drizzle-orm/pg-core";
import { GraphQLError } from "graphql";
import pg from "pg";
import { v7 } from "uuid";
import { idempotencyRecords } from "../dist/stores/postgres/index.js";
import { orderAnswer, product } from "./work.js";

export const products = pgTable("products", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  price: integer("price").notNull(),
  stock: integer("stock").notNull(),
});

export const orders = pgTable("orders", {
  id: text("id").primaryKey(),
  productId: text("product_id").notNull(),
  quantity: integer("quantity").notNull(),
  note: text("note"),
  total: integer("total").notNull(),
  status: text("status").notNull(),
  createdAt: bigint("created_at", { mode: "number" }).notNull(),
});

export const schema = { products, orders, idempotencyRecords };

/** So many that calls seldom wait for each other: a row that all take stock from would be the measure of all. */
const productCount = 10_000;
let nextProduct = Math.floor(Math.random() * productCount);

/** What the resolver of every trial does, written as a user of Drizzle writes it. The product goes round. */
export async function takeOrder(tx, { quantity, note }) {
  nextProduct = (nextProduct + 1) % productCount;
  const productId = `product-${nextProduct}`;
  const [taken] = await tx
    .update(products)
    .set({ stock: sql`${products.stock} - ${quantity}` })
    .where(and(eq(products.id, productId), gte(products.stock, quantity)))
    .returning({ price: products.price });
  if (!taken) throw new GraphQLError("There is not enough of this product.");
  const order = {
    id: v7(),
    productId,
    quantity,
    note,
    total: taken.price * quantity,
    status: "PLACED",
    createdAt: Date.now(),
  };
  const [inserted] = await tx.insert(orders).values(order).returning();
  return orderAnswer(inserted);
}

/** Creates the tables, straight from their Drizzle definitions, and the products. */
export async function createTables(url) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public");
  const statements = await generateMigration(generateDrizzleJson({}), generateDrizzleJson(schema));
  for (const statement of statements) await client.query(statement);
  await client.query(
    `INSERT INTO products SELECT 'product-' || number, '${product.name}', ${product.price}, 1000000000 FROM generate_series(0, ${productCount - 1}) AS number`,
  );
  await client.query("VACUUM ANALYZE");
  await client.end();
}
