import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createOrder, errorOf, file, grinder, jug, lastCup, stockOf } from "./create-order.ts";
import { asBob, type StartedShop, startShop } from "./start-shop.ts";

let shop: StartedShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop[Symbol.asyncDispose]());

describe("createOrder", () => {
  it("takes the stock and makes an order whose total is price times quantity", async () => {
    const before = await stockOf(shop, jug);
    const { status, body } = await shop.ask(createOrder(randomUUID(), { note: "Blue, please" }));
    expect(status).toBe(200);
    expect(body.data.createOrder).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      quantity: 2,
      note: "Blue, please",
      total: { amount: 3_800, currency: "EUR" },
      status: "PLACED",
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
    });
    expect(await stockOf(shop, jug)).toBe(before - 2);
  });

  it("refuses an order beyond the stock, keeps nothing, and lets the retry through when there is stock", async () => {
    const key = randomUUID();
    const order = createOrder(key, { productId: lastCup, quantity: 2 });
    expect(errorOf(await shop.ask(order))).toEqual({
      status: 200,
      code: "OUT_OF_STOCK",
      message: expect.stringContaining("asks for 2, but there are 1 in stock"),
    });
    expect(await stockOf(shop, lastCup)).toBe(1);
    await shop.query(`UPDATE products SET stock = 2 WHERE id = '${lastCup}'`);
    const retry = await shop.ask(order);
    expect(retry.body.data.createOrder.quantity).toBe(2);
    expect(await stockOf(shop, lastCup)).toBe(0);
  });

  it("sells the last piece to one of many concurrent orders", async () => {
    await shop.query(`UPDATE products SET stock = 1 WHERE id = '${lastCup}'`);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        shop.ask(createOrder(randomUUID(), { productId: lastCup, quantity: 1 })),
      ),
    );
    const refused = answers.filter(({ body }) => body.errors?.[0].extensions.code === "OUT_OF_STOCK");
    expect(refused).toHaveLength(19);
    expect(await stockOf(shop, lastCup)).toBe(0);
  });

  it.each([
    ["a quantity below 1", { quantity: 0 }, "BAD_USER_INPUT"],
    ["a product that isn't there", { productId: "no-such-product" }, "NOT_FOUND"],
    ["a total that no Int can carry", { productId: file, quantity: 50_000_000 }, "BAD_USER_INPUT"],
  ])("refuses %s, and takes no stock", async (_case, input, code) => {
    const before = [await stockOf(shop, jug), await stockOf(shop, file)];
    const { body } = await shop.ask(createOrder(randomUUID(), input));
    expect(body.data).toBeNull();
    expect(body.errors[0].extensions.code).toBe(code);
    expect([await stockOf(shop, jug), await stockOf(shop, file)]).toEqual(before);
  });
});

describe("cancelOrder", () => {
  const cancelOrder = (id: string) => `mutation { cancelOrder(id: "${id}") { id status } }`;

  it("gives the stock back exactly once, however often and concurrently it is called", async () => {
    const before = await stockOf(shop, grinder);
    const { body } = await shop.ask(createOrder(randomUUID(), { productId: grinder, quantity: 3 }));
    const { id } = body.data.createOrder;
    expect(await stockOf(shop, grinder)).toBe(before - 3);
    const answers = await Promise.all(Array.from({ length: 10 }, () => shop.ask(cancelOrder(id))));
    for (const { body } of answers) expect(body.data.cancelOrder).toEqual({ id, status: "CANCELLED" });
    expect(await stockOf(shop, grinder)).toBe(before);
  });

  it("leaves the stored result of createOrder as it was: a replay is the first answer", async () => {
    const key = randomUUID();
    const first = await shop.ask(createOrder(key));
    await shop.ask(cancelOrder(first.body.data.createOrder.id));
    const retry = await shop.ask(createOrder(key));
    expect(retry.body.data.createOrder).toEqual(first.body.data.createOrder);
  });

  it("refuses a client's key, which would protect nothing", async () => {
    const { body } = await shop.ask(`mutation { cancelOrder(id: "x") @idempotent(key: "k") { id } }`);
    expect(body.errors[0].extensions.code).toBe("IDEMPOTENCY_KEY_INVALID");
  });
});

describe("somebody else's order", () => {
  it.each([
    ["order", (id: string) => `{ order(id: "${id}") { id } }`],
    ["cancelOrder", (id: string) => `mutation { cancelOrder(id: "${id}") { id } }`],
    [
      "issueInvoice",
      (id: string) =>
        `mutation { issueInvoice(orderId: "${id}", number: "B-1", idempotencyKey: "not-mine") { id } }`,
    ],
  ])("is not found by %s", async (_field, operation) => {
    const { body } = await shop.ask(createOrder(randomUUID()));
    const { id } = body.data.createOrder;
    const bobs = await shop.ask(operation(id), asBob);
    expect(errorOf(bobs)).toMatchObject({ code: "NOT_FOUND" });
    const { body: mine } = await shop.ask(`{ order(id: "${id}") { status } }`);
    expect(mine.data.order.status).toBe("PLACED");
  });
});

describe("orders", () => {
  it("has the viewer's own in the order of their making, page by page", async () => {
    await shop.query("UPDATE orders SET customer_id = '01990000-0000-7000-8000-000000000001'");
    const made: string[] = [];
    for (let count = 0; count < 5; count++) {
      const { body } = await shop.ask(createOrder(randomUUID(), { productId: file }), asBob);
      made.push(body.data.createOrder.id);
    }
    const pages: string[][] = [];
    let after: string | undefined;
    do {
      const { body } = await shop.ask(
        {
          query: "query ($after: ID) { orders(first: 2, after: $after) { id } }",
          variables: { after },
        },
        asBob,
      );
      pages.push(body.data.orders.map(({ id }: { id: string }) => id));
      after = pages.at(-1)?.at(-1);
    } while (after);
    expect(pages.map(({ length }) => length)).toEqual([2, 2, 1, 0]);
    expect(pages.flat()).toEqual(made);
  });

  it.each(["first: 0", "first: 101", "first: -1", 'after: "yesterday"'])("refuses %s", async (args) => {
    const { body } = await shop.ask(`{ orders(${args}) { id } }`);
    expect(body.errors[0].extensions.code).toBe("BAD_USER_INPUT");
  });
});
