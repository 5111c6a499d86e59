import { rmSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { newDirectory, type StartedShop, startShop } from "./start-shop.ts";

const product = "01990000-0000-7000-8000-000000000105";

let directory: string;
beforeEach(() => {
  directory = newDirectory();
});
afterEach(() => rmSync(directory, { recursive: true }));

function buy(shop: StartedShop, key: string) {
  return shop.ask(
    `mutation { createOrder(input: { productId: "${product}", quantity: 1 }, idempotencyKey: "${key}") { id createdAt } }`,
  );
}

it.each(["SIGTERM", "SIGKILL"] as const)(
  "replays after a restart by %s what it answered before",
  async (signal) => {
    await using before = await startShop({ directory });
    const first = await buy(before, "key");
    expect(await before.stop(signal)).toBe(signal === "SIGTERM" ? 0 : null);

    await using after = await startShop({ directory });
    const retry = await buy(after, "key");
    expect(retry.body.data).toEqual(first.body.data);
    expect(retry.body.extensions.idempotency[0].replayed).toBe(true);
    const { body } = await after.ask(`{ product(id: "${product}") { stock } orders { id } }`);
    expect(body.data).toEqual({
      product: { stock: 99_999_999 },
      orders: [{ id: first.body.data.createOrder.id }],
    });
  },
);

it("loses no acknowledged order and makes none twice when it is killed under load", async () => {
  const keys = Array.from({ length: 400 }, (_, index) => `key-${index}`);
  const untried = [...keys];
  const acknowledged = new Map<string, string>();
  await using before = await startShop({ directory });
  let killed: Promise<unknown> | undefined;

  async function buyUntilItIsKilled(): Promise<void> {
    for (let key = untried.pop(); key && !killed; key = untried.pop()) {
      const answer = await buy(before, key).catch(() => undefined); // the connection broke
      if (answer) acknowledged.set(key, answer.body.data.createOrder.id);
      if (acknowledged.size === 100) killed ??= before.stop("SIGKILL");
    }
  }

  await Promise.all(Array.from({ length: 20 }, buyUntilItIsKilled));
  expect(await killed).toBeNull();

  await using after = await startShop({ directory });
  const retries = await Promise.all(keys.map(async (key) => [key, await buy(after, key)] as const));
  const ids = new Map(retries.map(([key, { body }]) => [key, body.data.createOrder.id]));
  for (const [key, id] of acknowledged) expect(ids.get(key)).toBe(id);
  expect(new Set(ids.values()).size).toBe(keys.length);
  const counts = after
    .connect()
    .prepare("SELECT count(*) FROM orders UNION ALL SELECT count(*) FROM idempotency_records");
  expect(counts.pluck().all()).toEqual([keys.length, keys.length]);
  const { body } = await after.ask(`{ product(id: "${product}") { stock } }`);
  expect(body.data.product.stock).toBe(100_000_000 - keys.length);
});

it("seeds a file once: a restart neither refills the stock nor gives money back", async () => {
  await using before = await startShop({ directory });
  await buy(before, "key");
  await before.stop();
  await using after = await startShop({ directory });
  const { body } = await after.ask("{ products { id stock } }");
  expect(body.data.products).toHaveLength(5);
  expect(body.data.products.at(-1)).toEqual({ id: product, stock: 99_999_999 });
});
