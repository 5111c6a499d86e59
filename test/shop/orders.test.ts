import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Answer, asBob, type StartedShop, startShop } from "./start-shop.ts";

let shop: StartedShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop[Symbol.asyncDispose]());

const jug = "01990000-0000-7000-8000-000000000101";
const grinder = "01990000-0000-7000-8000-000000000102";
const lastCup = "01990000-0000-7000-8000-000000000104";
const file = "01990000-0000-7000-8000-000000000105";

const fields = "id quantity note total { amount currency } status createdAt";

function createOrder(key: string, input: object = {}, selection = fields): object {
  return {
    query: `mutation ($input: CreateOrderInput!, $key: ID) {
      createOrder(input: $input, idempotencyKey: $key) { ${selection} }
    }`,
    variables: { input: { productId: jug, quantity: 2, ...input }, key },
  };
}

async function stockOf(productId: string): Promise<number> {
  const { body } = await shop.ask({
    query: "query ($id: ID!) { product(id: $id) { stock } }",
    variables: { id: productId },
  });
  return body.data.product.stock;
}

function errorOf({ status, body }: Answer) {
  return { status, code: body.errors[0].extensions.code, message: body.errors[0].message };
}

describe("createOrder", () => {
  it("takes the stock and makes an order whose total is price times quantity", async () => {
    const before = await stockOf(jug);
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
    expect(await stockOf(jug)).toBe(before - 2);
  });

  it("gives a retry the first order, says that it is a replay, and takes no more stock", async () => {
    const key = randomUUID();
    const before = await stockOf(jug);
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
    expect(await stockOf(jug)).toBe(before - 2);
  });

  it("answers a retry that selects other fields, with today's stock below the order of then", async () => {
    const key = randomUUID();
    const first = await shop.ask(createOrder(key, {}, "id"));
    await shop.ask(createOrder(randomUUID(), { quantity: 5 }));
    const retry = await shop.ask(createOrder(key, {}, "number: id status product { id name stock }"));
    expect(retry.body.data.createOrder).toEqual({
      number: first.body.data.createOrder.id,
      status: "PLACED",
      product: { id: jug, name: "Milk jug", stock: await stockOf(jug) },
    });
  });

  it("refuses other arguments under the same key, and orders nothing for them", async () => {
    const key = randomUUID();
    await shop.ask(createOrder(key));
    const before = await stockOf(jug);
    expect(errorOf(await shop.ask(createOrder(key, { quantity: 3 })))).toMatchObject({
      status: 422,
      code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
    });
    expect(await stockOf(jug)).toBe(before);
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
    const before = await stockOf(jug);
    const answers = await Promise.all(Array.from({ length: 200 }, () => shop.ask(createOrder(key))));
    const ids = new Set(answers.map(({ body }) => body.data.createOrder.id));
    const firsts = answers.filter(({ body }) => !body.extensions.idempotency[0].replayed);
    expect(ids.size).toBe(1);
    expect(firsts).toHaveLength(1);
    expect(await stockOf(jug)).toBe(before - 2);
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
    const before = await stockOf(jug);
    const connection = shop.connect();
    connection.exec(
      "CREATE TRIGGER fault BEFORE INSERT ON orders BEGIN SELECT RAISE(ABORT, 'a secret of the server'); END",
    );
    const failed = await shop.ask(createOrder(key));
    const kept = connection
      .prepare("SELECT count(*) FROM idempotency_records WHERE key = ?")
      .pluck()
      .get(key);
    connection.exec("DROP TRIGGER fault");
    expect(failed.body.data).toBeNull();
    expect(failed.body.errors[0]).toMatchObject({
      message: "Internal server error",
      extensions: {
        code: "INTERNAL_SERVER_ERROR",
        idempotency: { key, retryable: true, safeToUseNewKey: true },
      },
    });
    expect(JSON.stringify(failed.body)).not.toContain("secret");
    await expect.poll(shop.output).toContain("a secret of the server"); // the log has it
    expect(kept).toBe(0);
    expect(await stockOf(jug)).toBe(before);

    const retry = await shop.ask(createOrder(key));
    expect(retry.body.extensions.idempotency[0].replayed).toBe(false);
    expect(await stockOf(jug)).toBe(before - 2);
  });

  it("refuses an order beyond the stock, keeps nothing, and lets the retry through when there is stock", async () => {
    const key = randomUUID();
    const order = createOrder(key, { productId: lastCup, quantity: 2 });
    expect(errorOf(await shop.ask(order))).toEqual({
      status: 200,
      code: "OUT_OF_STOCK",
      message: expect.stringContaining("asks for 2, but there are 1 in stock"),
    });
    expect(await stockOf(lastCup)).toBe(1);
    shop.connect().prepare("UPDATE products SET stock = 2 WHERE id = ?").run(lastCup);
    const retry = await shop.ask(order);
    expect(retry.body.data.createOrder.quantity).toBe(2);
    expect(await stockOf(lastCup)).toBe(0);
  });

  it("sells the last piece to one of many concurrent orders", async () => {
    shop.connect().prepare("UPDATE products SET stock = 1 WHERE id = ?").run(lastCup);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        shop.ask(createOrder(randomUUID(), { productId: lastCup, quantity: 1 })),
      ),
    );
    const refused = answers.filter(({ body }) => body.errors?.[0].extensions.code === "OUT_OF_STOCK");
    expect(refused).toHaveLength(19);
    expect(await stockOf(lastCup)).toBe(0);
  });

  it.each([
    ["a quantity below 1", { quantity: 0 }, "BAD_USER_INPUT"],
    ["a product that isn't there", { productId: "no-such-product" }, "NOT_FOUND"],
    ["a total that no Int can carry", { productId: file, quantity: 50_000_000 }, "BAD_USER_INPUT"],
  ])("refuses %s, and takes no stock", async (_case, input, code) => {
    const before = [await stockOf(jug), await stockOf(file)];
    const { body } = await shop.ask(createOrder(randomUUID(), input));
    expect(body.data).toBeNull();
    expect(body.errors[0].extensions.code).toBe(code);
    expect([await stockOf(jug), await stockOf(file)]).toEqual(before);
  });
});

describe("cancelOrder", () => {
  const cancelOrder = (id: string) => `mutation { cancelOrder(id: "${id}") { id status } }`;

  it("gives the stock back exactly once, however often and concurrently it is called", async () => {
    const before = await stockOf(grinder);
    const { body } = await shop.ask(createOrder(randomUUID(), { productId: grinder, quantity: 3 }));
    const { id } = body.data.createOrder;
    expect(await stockOf(grinder)).toBe(before - 3);
    const answers = await Promise.all(Array.from({ length: 10 }, () => shop.ask(cancelOrder(id))));
    for (const { body } of answers) expect(body.data.cancelOrder).toEqual({ id, status: "CANCELLED" });
    expect(await stockOf(grinder)).toBe(before);
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
    shop.connect().exec("UPDATE orders SET customer_id = '01990000-0000-7000-8000-000000000001'");
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
