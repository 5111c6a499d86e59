import { randomUUID } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import { startShop } from "./start-shop.ts";

const orders = 600;

it("shows record and order to another connection together or not at all, at every moment under load", async () => {
  await using shop = await startShop();
  const watch = `
    SELECT
      (SELECT CAST(count(*) AS integer) FROM orders) AS orders,
      (SELECT CAST(count(*) AS integer) FROM idempotency_records) AS records,
      (SELECT CAST(count(*) AS integer) FROM orders JOIN idempotency_records ON resource_id = orders.id
        AND payload LIKE '%"id":"' || orders.id || '"%') AS pairs,
      (SELECT 100000000 - stock FROM products WHERE id = '01990000-0000-7000-8000-000000000105') AS sold
  `;
  const seen = new Set<number>();
  let isOver = false;

  async function keepWatching(): Promise<void> {
    while (!isOver) {
      const [row] = await shop.query(watch);
      const { orders, records, pairs, sold } = row ?? {};
      expect({ records, pairs, sold }).toEqual({ records: orders, pairs: orders, sold: orders });
      seen.add(orders);
      await setImmediate();
    }
  }

  async function buy(): Promise<void> {
    await shop.ask(
      `mutation { createOrder(input: { productId: "01990000-0000-7000-8000-000000000105", quantity: 1 }) { id } }`,
      { "idempotency-key": randomUUID() },
    );
  }

  async function buyOneByOne(): Promise<void> {
    for (let count = 0; count < orders / 20; count++) await buy();
  }

  const watching = keepWatching();
  await Promise.all(Array.from({ length: 20 }, buyOneByOne));
  await setImmediate();
  isOver = true;
  await watching;
  expect(Math.max(...seen)).toBe(orders);
  expect(seen.size).toBeGreaterThan(10); // it did look while orders were made
});
