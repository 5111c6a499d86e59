import { afterEach, beforeEach, expect, it } from "vitest";
import { type NewDatabase, newDatabase } from "./new-database.ts";
import { type StartedShop, startShop } from "./start-shop.ts";

const product = "01990000-0000-7000-8000-000000000105";

let database: NewDatabase;
beforeEach(async () => {
  database = await newDatabase();
});
afterEach(() => database[Symbol.asyncDispose]());

function buy(shop: StartedShop, key: string) {
  return shop.ask(
    `mutation { createOrder(input: { productId: "${product}", quantity: 1 }, idempotencyKey: "${key}") { id createdAt } }`,
  );
}

it.each(["SIGTERM", "SIGKILL"] as const)(
  "replays after a restart by %s what it answered before",
  async (signal) => {
    await using before = await startShop({ database });
    const first = await buy(before, "key");
    expect(await before.stop(signal)).toBe(signal === "SIGTERM" ? 0 : null);

    await using after = await startShop({ database });
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
  // More than are acknowledged or under way when it is killed, so that some are sent for the first time afterwards.
  const keys = Array.from({ length: 150 }, (_, index) => `key-${index}`);
  const untried = [...keys];
  const acknowledged = new Map<string, string>();
  await using before = await startShop({ database });
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

  await using after = await startShop({ database });
  const retries = await Promise.all(keys.map(async (key) => [key, await buy(after, key)] as const));
  const ids = new Map(retries.map(([key, { body }]) => [key, body.data.createOrder.id]));
  for (const [key, id] of acknowledged) expect(ids.get(key)).toBe(id);
  expect(new Set(ids.values()).size).toBe(keys.length);
  expect(await database.query("SELECT id FROM orders")).toHaveLength(keys.length);
  expect(await database.query("SELECT key FROM idempotency_records")).toHaveLength(keys.length);
  const { body } = await after.ask(`{ product(id: "${product}") { stock } }`);
  expect(body.data.product.stock).toBe(100_000_000 - keys.length);
});

it("seeds a database once: a restart neither refills the stock nor gives money back", async () => {
  await using before = await startShop({ database });
  await buy(before, "key");
  await before.stop();
  await using after = await startShop({ database });
  const { body } = await after.ask("{ products { id stock } }");
  expect(body.data.products).toHaveLength(5);
  expect(body.data.products.at(-1)).toEqual({ id: product, stock: 99_999_999 });
});
