import Sqlite from "better-sqlite3";
import {
  type Answer,
  damage,
  differingReplays,
  duplicates,
  type Finding,
  imbalances,
  lostAcknowledgements,
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

/** All the checks, on the file of a shop that stands still, against all that clients were told. */
export function examineShop(file: string, sent: readonly string[], answers: readonly Answer[]): Finding[] {
  const connection = new Sqlite(file, { readonly: true });
  const read = <Row>(sql: string) => connection.prepare(sql).all() as Row[]; // `as`: the queries below say so
  try {
    const orders = read<{ id: string; key: string; quantity: number }>(
      "SELECT id, note AS key, quantity FROM orders",
    );
    const transfers = read<{ id: string; from: string; to: string; amount: number }>(
      'SELECT id, from_account_id AS "from", to_account_id AS "to", amount FROM transfers',
    );
    const resources = read<{ key: string }>("SELECT resource_id AS key FROM idempotency_records");
    const stock =
      read<{ stock: number }>(`SELECT stock FROM products WHERE id = '${product}'`)[0]?.stock ?? Number.NaN;
    const balances = read<{ id: string; balance: number }>("SELECT id, balance FROM accounts");
    const effects = [...orders, ...transfers].map(({ id }) => ({ key: id }));
    return [
      ...damage(connection),
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
      ...imbalances(openingBalances, new Map(balances.map(({ id, balance }) => [id, balance])), transfers),
    ];
  } finally {
    connection.close();
  }
}

function resourceOf({ result }: Answer): Answer {
  return { key: JSON.parse(result).id, result };
}
