// The work of every trial: take stock by one UPDATE, insert one order with a UUIDv7 as its ID.
import Sqlite from "better-sqlite3";
import { generateSQLiteDrizzleJson, generateSQLiteMigration } from "drizzle-kit/api";
import { and, eq, gte, sql } from "drizzle-orm";
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";
import { GraphQLError } from "graphql";
import { v7 } from "uuid";
import { idempotencyRecords } from "../dist/stores/sqlite/index.js";

export const products = sqliteTable("products", {
  id: text("id").primaryKey(),
  name: text("name").notNull(),
  price: integer("price").notNull(),
  stock: integer("stock").notNull(),
});

export const orders = sqliteTable("orders", {
  id: text("id").primaryKey(),
  productId: text("product_id").notNull(),
  quantity: integer("quantity").notNull(),
  note: text("note"),
  total: integer("total").notNull(),
  status: text("status").notNull(),
  createdAt: integer("created_at").notNull(),
});

export const schema = { products, orders, idempotencyRecords };

/** The field's coordinate, under which records are kept. */
export const field = "Mutation.createOrder";

export const product = { id: "0197d6a0-0000-7000-8000-000000000001", name: "A digital good", price: 1250 };
const stock = 1_000_000_000;

/** `DIRECTIVE` stands where a server may annotate the mutation. */
export const typeDefs = /* GraphQL */ `
  type Query {
    ready: Boolean!
  }
  type Mutation {
    createOrder(input: CreateOrderInput!, idempotencyKey: ID!): Order! DIRECTIVE
  }
  input CreateOrderInput {
    productId: ID!
    quantity: Int!
    note: String
  }
  type Order {
    id: ID!
    productId: ID!
    quantity: Int!
    note: String
    total: Money!
    status: String!
    createdAt: String!
  }
  type Money {
    amount: Int!
    currency: String!
  }
`;

/** The one operation that the load sends, with the same selection set in every trial. */
export const operation = /* GraphQL */ `
  mutation CreateOrder($input: CreateOrderInput!, $key: ID!) {
    createOrder(input: $input, idempotencyKey: $key) {
      id
      productId
      quantity
      note
      total {
        amount
        currency
      }
      status
      createdAt
    }
  }
`;

export const input = { productId: product.id, quantity: 1, note: "Please leave it with the neighbours" };

/** What the resolver of every trial but the no-op does, written as a user of Drizzle writes it. */
export function takeOrder(tx, { productId, quantity, note }) {
  const [taken] = tx
    .update(products)
    .set({ stock: sql`${products.stock} - ${quantity}` })
    .where(and(eq(products.id, productId), gte(products.stock, quantity)))
    .returning({ price: products.price })
    .all();
  if (!taken) throw outOfStock();
  const [order] = tx
    .insert(orders)
    .values(newOrder(taken.price, { productId, quantity, note }))
    .returning()
    .all();
  return orderAnswer(order);
}

/** The same work by statements that are prepared once. They run in whatever transaction `db` is in. */
export function prepareTakeOrder(db) {
  const take = db
    .update(products)
    .set({ stock: sql`${products.stock} - ${sql.placeholder("quantity")}` })
    .where(
      and(eq(products.id, sql.placeholder("productId")), gte(products.stock, sql.placeholder("quantity"))),
    )
    .returning({ price: products.price })
    .prepare();
  const values = Object.fromEntries(
    Object.keys(newOrder(0, input)).map((name) => [name, sql.placeholder(name)]),
  );
  const insert = db.insert(orders).values(values).returning().prepare();

  return function takeOrderPrepared({ productId, quantity, note }) {
    const taken = take.get({ productId, quantity });
    if (!taken) throw outOfStock();
    return orderAnswer(insert.get(newOrder(taken.price, { productId, quantity, note })));
  };
}

function outOfStock() {
  return new GraphQLError("There is not enough of this product.", { extensions: { code: "OUT_OF_STOCK" } });
}

function newOrder(price, { productId, quantity, note }) {
  return {
    id: v7(),
    productId,
    quantity,
    note,
    total: price * quantity,
    status: "PLACED",
    createdAt: Date.now(),
  };
}

export function orderAnswer({ total, createdAt, ...order }) {
  return {
    ...order,
    total: { amount: total, currency: "EUR" },
    createdAt: new Date(createdAt).toISOString(),
  };
}

export const constantOrder = orderAnswer(newOrder(product.price, input));

/** Creates the tables, straight from their Drizzle definitions, and the one product. */
export async function createDatabaseFile(file) {
  const statements = await generateSQLiteMigration(
    await generateSQLiteDrizzleJson({}),
    await generateSQLiteDrizzleJson(schema),
  );
  const connection = new Sqlite(file);
  connection.pragma("journal_mode = WAL");
  for (const statement of statements) connection.exec(statement);
  connection
    .prepare("INSERT INTO products (id, name, price, stock) VALUES (?, ?, ?, ?)")
    .run(product.id, product.name, product.price, stock);
  connection.close();
}

/** A connection as a careful user opens one: WAL, and FULL, which better-sqlite3 otherwise leaves for NORMAL. */
export function openConnection(file) {
  const connection = new Sqlite(file);
  connection.pragma("journal_mode = WAL");
  connection.pragma("synchronous = FULL");
  return connection;
}
