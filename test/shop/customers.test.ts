import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { asBob, type StartedShop, startShop } from "./start-shop.ts";

let shop: StartedShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop[Symbol.asyncDispose]());

describe("a request without a known token", () => {
  const jug = "01990000-0000-7000-8000-000000000101";

  it.each([
    ["{ viewer { id } }"],
    ["{ products { id } }"],
    [`{ product(id: "${jug}") { id } }`],
    ["{ orders { id } }"],
    ['{ order(id: "x") { id } }'],
    ['{ account(id: "x") { id } }'],
    ['{ invoice(id: "x") { id } }'],
    [`mutation { createOrder(input: { productId: "${jug}", quantity: 1 }, idempotencyKey: "k") { id } }`],
    [
      'mutation { transferFunds(input: { idempotencyKey: "k", fromAccountId: "a", toAccountId: "b", amount: 1 }) { id } }',
    ],
    ['mutation { issueInvoice(orderId: "x", number: "1", idempotencyKey: "k") { id } }'],
    ['mutation { cancelOrder(id: "x") { id } }'],
    ['mutation { updateAddress(address: "x") { id } }'],
  ])("is refused by %s", async (operation) => {
    for (const authorization of ["", "Bearer", "Bearer nobody's", "Basic YWxpY2UtdG9rZW46"]) {
      const { body } = await shop.ask(operation, { authorization });
      expect(body.errors[0].extensions.code).toBe("UNAUTHENTICATED");
    }
  });

  it("gets no replay, even with a key that has a result", async () => {
    const operation = `mutation { createOrder(input: { productId: "${jug}", quantity: 1 }, idempotencyKey: "${randomUUID()}") { id } }`;
    const first = await shop.ask(operation);
    expect(first.body.data.createOrder.id).toEqual(expect.any(String));
    const { body, headers } = await shop.ask(operation, { authorization: "Bearer stolen" });
    expect(body.data).toBeNull();
    expect(body.errors[0].extensions.code).toBe("UNAUTHENTICATED");
    expect(headers.get("idempotent-replayed")).toBeNull();
  });
});

it("knows each customer by the token, with two accounts each", async () => {
  const viewer = "{ viewer { name accounts { id balance { amount currency } } } }";
  const { body: alice } = await shop.ask(viewer);
  const { body: bob } = await shop.ask(viewer, { authorization: "bearer bob-token" });
  expect(alice.data.viewer.name).toBe("Alice");
  expect(bob.data.viewer.name).toBe("Bob");
  expect(alice.data.viewer.accounts).toHaveLength(2);
  expect(bob.data.viewer.accounts).toHaveLength(2);
});

it("keeps no bearer token in the database", async () => {
  const customers = JSON.stringify(await shop.query("SELECT * FROM customers"));
  expect(customers).toContain("Alice");
  expect(customers).not.toContain("alice-token");
});

it("updates the address of the viewer alone, again and again", async () => {
  const operation = 'mutation { updateAddress(address: "2 Mill Road") { name address } }';
  for (let count = 0; count < 2; count++) {
    const { body } = await shop.ask(operation, asBob);
    expect(body.data.updateAddress).toEqual({ name: "Bob", address: "2 Mill Road" });
  }
  const { body: alice } = await shop.ask("{ viewer { address } }");
  expect(alice.data.viewer.address).toBe("1 Orchard Lane, Bristol");
});

it.each(["", "   ", "x".repeat(501)])("refuses the address %j", async (address) => {
  const { body } = await shop.ask({
    query: "mutation ($address: String!) { updateAddress(address: $address) { id } }",
    variables: { address },
  });
  expect(body.errors[0].extensions.code).toBe("BAD_USER_INPUT");
});

describe("products", () => {
  it("lists them in the order of their IDs, and pages through them", async () => {
    const { body } = await shop.ask("{ products { id name price { amount currency } stock } }");
    const { products } = body.data;
    expect(products.length).toBeGreaterThanOrEqual(5);
    expect(products).toContainEqual(expect.objectContaining({ stock: 100_000_000 }));
    const { body: page } = await shop.ask({
      query: "query ($after: ID) { products(first: 2, after: $after) { id } }",
      variables: { after: products[1].id.toUpperCase() },
    });
    expect(page.data.products).toEqual([{ id: products[2].id }, { id: products[3].id }]);
  });

  it("says so when there is no such product", async () => {
    const { body } = await shop.ask('{ product(id: "none") { id } }');
    expect(body).toMatchObject({ data: { product: null }, errors: [{ extensions: { code: "NOT_FOUND" } }] });
  });
});
