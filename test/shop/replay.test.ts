import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createOrder, errorOf, jug, stockOf } from "./create-order.ts";
import { asBob, type StartedShop, startShop } from "./start-shop.ts";

let shop: StartedShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop[Symbol.asyncDispose]());

it("gives a retry the first order, says that it is a replay, and takes no more stock", async () => {
  const key = randomUUID();
  const before = await stockOf(shop, jug);
  const first = await shop.ask(createOrder(key));
  const retry = await shop.ask(createOrder(key));
  expect(retry.body.data).toEqual(first.body.data);
  expect(first.body.extensions.idempotency[0].replayed).toBe(false);
  expect(retry.body.extensions.idempotency[0]).toMatchObject({
    path: ["createOrder"],
    key,
    replayed: true,
    resourceId: first.body.data.createOrder.id,
  });
  expect(first.headers.get("idempotent-replayed")).toBeNull();
  expect(retry.headers.get("idempotent-replayed")).toBe("true");
  expect(await stockOf(shop, jug)).toBe(before - 2);
});

it("answers a retry that selects other fields, with today's stock below the order of then", async () => {
  const key = randomUUID();
  const first = await shop.ask(createOrder(key, {}, "id"));
  await shop.ask(createOrder(randomUUID(), { quantity: 5 }));
  const retry = await shop.ask(createOrder(key, {}, "number: id status product { id name stock }"));
  expect(retry.body.data.createOrder).toEqual({
    number: first.body.data.createOrder.id,
    status: "PLACED",
    product: { id: jug, name: "Milk jug", stock: await stockOf(shop, jug) },
  });
});

it("refuses other arguments under the same key, and orders nothing for them", async () => {
  const key = randomUUID();
  await shop.ask(createOrder(key));
  const before = await stockOf(shop, jug);
  expect(errorOf(await shop.ask(createOrder(key, { quantity: 3 })))).toMatchObject({
    status: 422,
    code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
  });
  expect(await stockOf(shop, jug)).toBe(before);
});

it("takes the same key from another customer as another call", async () => {
  const key = randomUUID();
  const alices = await shop.ask(createOrder(key));
  const bobs = await shop.ask(createOrder(key), asBob);
  expect(bobs.body.extensions.idempotency[0].replayed).toBe(false);
  expect(bobs.body.data.createOrder.id).not.toBe(alices.body.data.createOrder.id);
});

it("takes the same key on another mutation as another call", async () => {
  const key = randomUUID();
  const order = await shop.ask(createOrder(key));
  const { body } = await shop.ask({
    query: `mutation ($orderId: ID!, $key: ID!) {
      issueInvoice(orderId: $orderId, number: "SAME-KEY-1", idempotencyKey: $key) { number order { id } }
    }`,
    variables: { orderId: order.body.data.createOrder.id, key },
  });
  const { id } = order.body.data.createOrder;
  expect(body.data.issueInvoice).toEqual({ number: "SAME-KEY-1", order: { id } });
  expect(body.extensions.idempotency[0].replayed).toBe(false);
});

it("makes one order of two hundred concurrent duplicates, and each of them gets it", async () => {
  const key = randomUUID();
  const before = await stockOf(shop, jug);
  const answers = await Promise.all(Array.from({ length: 200 }, () => shop.ask(createOrder(key))));
  const ids = new Set(answers.map(({ body }) => body.data.createOrder.id));
  const firsts = answers.filter(({ body }) => !body.extensions.idempotency[0].replayed);
  expect(ids.size).toBe(1);
  expect(firsts).toHaveLength(1);
  expect(await stockOf(shop, jug)).toBe(before - 2);
});

it.each([
  ["the Idempotency-Key header, in quotes", (key: string) => ({ "idempotency-key": `"${key}"` })],
  ["the Idempotency-Key header, bare", (key: string) => ({ "idempotency-key": key })],
])("takes the key from %s", async (_source, headersWith) => {
  const key = randomUUID();
  const operation = `mutation { createOrder(input: { productId: "${jug}", quantity: 1 }) { id } }`;
  const first = await shop.ask(operation, headersWith(key));
  const retry = await shop.ask(operation, headersWith(key));
  expect(retry.body.data).toEqual(first.body.data);
  expect(retry.body.extensions.idempotency[0]).toMatchObject({ key, replayed: true });
});

it("takes the key from the client's directive", async () => {
  const operation = {
    query: `mutation ($key: String!) {
      createOrder(input: { productId: "${jug}", quantity: 1 }) @idempotent(key: $key) { id }
    }`,
    variables: { key: randomUUID() },
  };
  const first = await shop.ask(operation);
  const retry = await shop.ask(operation);
  expect(retry.body.data).toEqual(first.body.data);
  expect(retry.body.extensions.idempotency[0].replayed).toBe(true);
});

it("refuses a call without a key, and names all three sources", async () => {
  const { status, code, message } = errorOf(
    await shop.ask(`mutation { createOrder(input: { productId: "${jug}", quantity: 1 }) { id } }`),
  );
  expect({ status, code }).toEqual({ status: 400, code: "IDEMPOTENCY_KEY_MISSING" });
  expect(message).toContain("argument idempotencyKey");
  expect(message).toContain("@idempotent(key:)");
  expect(message).toContain("Idempotency-Key header");
});

it("keeps nothing of a call whose resolver fails by a fault, masks it, and runs the retry", async () => {
  const key = randomUUID();
  const before = await stockOf(shop, jug);
  await shop.query("ALTER TABLE orders RENAME TO secret_orders");
  const failed = await shop.ask(createOrder(key));
  const kept = await shop.query(`SELECT key FROM idempotency_records WHERE key = '${key}'`);
  await shop.query("ALTER TABLE secret_orders RENAME TO orders");
  expect(failed.body.data).toBeNull();
  expect(failed.body.errors[0]).toMatchObject({
    message: "Internal server error",
    extensions: {
      code: "INTERNAL_SERVER_ERROR",
      idempotency: { key, retryable: true, safeToUseNewKey: true },
    },
  });
  expect(JSON.stringify(failed.body)).not.toMatch(/orders|insert/);
  await expect.poll(shop.output).toMatch(/no such table: orders|relation "orders" does not exist/); // the log has it
  expect(kept).toEqual([]);
  expect(await stockOf(shop, jug)).toBe(before);

  const retry = await shop.ask(createOrder(key));
  expect(retry.body.extensions.idempotency[0].replayed).toBe(false);
  expect(await stockOf(shop, jug)).toBe(before - 2);
});
