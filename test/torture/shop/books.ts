import Sqlite from "better-sqlite3";
import pg from "pg";
import {
  type Answer,
  damage,
  differingReplays,
  duplicates,
  type Effect,
  type Finding,
  imbalances,
  lostAcknowledgements,
  type Movement,
  stockGap,
  stuckKeys,
  tornApart,
} from "../checks.ts";
import { product } from "./client.ts";

/** What the shop was seeded with: see src/shop/seed.ts. */
const openingStock = 100_000_000;
const openingBalances = new Map([
  ["01990000-0000-7000-8000-000000000011", 500_000],
  ["01990000-0000-7000-8000-000000000012", 20_000],
  ["01990000-0000-7000-8000-000000000021", 300_000],
  ["01990000-0000-7000-8000-000000000022", 0],
]);

/** All that the database of a shop says, once the shop stands still. */
export interface Books {
  readonly orders: readonly (Effect & { readonly id: string; readonly quantity: number })[];
  readonly transfers: readonly (Movement & { readonly id: string })[];
  /** The records' resources. */
  readonly resources: readonly Effect[];
  readonly stock: number;
  readonly balances: ReadonlyMap<string, number>;
  /** What the database finds in an examination of its own. */
  readonly damage: readonly Finding[];
}

/** Both engines understand these. PostgreSQL's bigint would come as text. */
const queries = {
  orders: "SELECT id, note AS key, quantity FROM orders",
  transfers:
    'SELECT id, from_account_id AS "from", to_account_id AS "to", CAST(amount AS integer) AS amount FROM transfers',
  resources: "SELECT resource_id AS key FROM idempotency_records",
  products: `SELECT stock FROM products WHERE id = '${product}'`,
  accounts: "SELECT id, CAST(balance AS integer) AS balance FROM accounts",
} as const;

/** The rows of each query. */
interface Rows {
  readonly orders: Books["orders"];
  readonly transfers: Books["transfers"];
  readonly resources: Books["resources"];
  readonly products: readonly { readonly stock: number }[];
  readonly accounts: readonly { readonly id: string; readonly balance: number }[];
}

export function readSqliteBooks(file: string): Books {
  const connection = new Sqlite(file, { readonly: true });
  try {
    const rows = Object.entries(queries).map(([name, sql]) => [name, connection.prepare(sql).all()]);
    return booksOf(Object.fromEntries(rows), damage(connection)); // `any`: the queries say what they are
  } finally {
    connection.close();
  }
}

export async function readPostgresBooks(url: string): Promise<Books> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const rows = [];
    for (const [name, sql] of Object.entries(queries)) rows.push([name, (await client.query(sql)).rows]);
    return booksOf(Object.fromEntries(rows), []); // `any`: the queries say what they are
  } finally {
    await client.end();
  }
}

function booksOf({ products, accounts, ...rows }: Rows, damage: readonly Finding[]): Books {
  return {
    ...rows,
    stock: products[0]?.stock ?? Number.NaN,
    balances: new Map(accounts.map(({ id, balance }) => [id, balance])),
    damage,
  };
}

/** All the checks, on the books of a shop, against all that clients were told. */
export function examineBooks(books: Books, sent: readonly string[], answers: readonly Answer[]): Finding[] {
  const { orders, transfers, resources, stock, balances } = books;
  const effects = [...orders, ...transfers].map(({ id }) => ({ key: id }));
  return [
    ...books.damage,
    ...duplicates(orders),
    // By the resource's ID, a second effect of a key is one that no record knows.
    ...tornApart(resources, effects),
    ...lostAcknowledgements(answers.map(resourceOf), effects),
    ...differingReplays(answers),
    ...stuckKeys(sent, answers),
    ...stockGap(
      openingStock,
      stock,
      orders.map(({ quantity }) => quantity),
    ),
    ...imbalances(openingBalances, balances, transfers),
  ];
}

/** {@link examineBooks} on the file of a shop. */
export function examineShop(file: string, sent: readonly string[], answers: readonly Answer[]): Finding[] {
  return examineBooks(readSqliteBooks(file), sent, answers);
}

function resourceOf({ result }: Answer): Answer {
  return { key: JSON.parse(result).id, result };
}
