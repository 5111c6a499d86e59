import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { grinder, jug } from "./create-order.ts";
import { type StartedShop, startShop } from "./start-shop.ts";

let shop: StartedShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop[Symbol.asyncDispose]());

const createOrder = (key: string, productId = jug) =>
  `mutation { createOrder(input: { productId: "${productId}", quantity: 1 }, idempotencyKey: "${key}") { id } }`;

const at = (path: string, init?: RequestInit) => fetch(new URL(path, shop.url), init);

it("says that it is well at /healthz, without a token", async () => {
  const response = await at("/healthz");
  expect(response.status).toBe(200);
  expect(await response.json()).toEqual({ status: "ok" });
});

describe("GET /graphql", () => {
  const asBrowser = { headers: { accept: "text/html,application/xhtml+xml,*/*;q=0.8" } };

  it("is GraphiQL for browsers, and forbids it to ask any other host", async () => {
    const response = await at("/graphql", asBrowser);
    const page = await response.text();
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toMatch("text/html");
    expect(response.headers.get("content-security-policy")).toMatch(/^default-src 'self' /);
    // not by toContain(): a failure would print all 9 MB
    expect(page.includes("createOrder(input: $input, idempotencyKey: $key)")).toBe(true);
    expect(page.includes("Bearer alice-token")).toBe(true);
  });

  it("is where the root page leads", async () => {
    const response = await at("/", { ...asBrowser, redirect: "manual" });
    expect(response.headers.get("location")).toBe("/graphql");
  });

  it("answers queries of clients that a browser can't be made to be", async () => {
    const query = `/graphql?${new URLSearchParams({ query: "{ viewer { name } }" })}`;
    const headers = { authorization: "Bearer alice-token" };
    expect((await at(query, { headers })).status).toBe(400);
    const response = await at(query, { headers: { ...headers, "apollo-require-preflight": "1" } });
    expect(await response.json()).toEqual({ data: { viewer: { name: "Alice" } } });
  });

  it("runs no mutation", async () => {
    const query = `/graphql?${new URLSearchParams({ query: createOrder(randomUUID()) })}`;
    const response = await at(query, {
      headers: { authorization: "Bearer alice-token", "apollo-require-preflight": "1" },
    });
    expect(response.status).toBe(405);
  });
});

it("refuses what a form on another site could post", async () => {
  const body = JSON.stringify({ query: createOrder(randomUUID()) });
  const response = await at("/graphql", {
    method: "POST",
    headers: { "content-type": "text/plain", authorization: "Bearer alice-token" },
    body,
  });
  expect(response.status).toBe(400);
  expect(await response.text()).toContain("Cross-Site Request Forgery");
});

describe("a batch of operations", () => {
  it("is answered one by one, each with its own key", async () => {
    const [key, other] = [randomUUID(), randomUUID()];
    const { body } = await shop.ask([key, other, key].map((each) => ({ query: createOrder(each) })));
    const ids = body.map(({ data }: { data: { createOrder: { id: string } } }) => data.createOrder.id);
    expect(body).toHaveLength(3);
    expect(ids[0]).toBe(ids[2]);
    expect(ids[0]).not.toBe(ids[1]);
  });

  it("is refused when one Idempotency-Key header stands for all of them", async () => {
    const operation = `mutation { createOrder(input: { productId: "${jug}", quantity: 1 }) { id } }`;
    const { body } = await shop.ask([{ query: operation }, { query: operation }], {
      "idempotency-key": randomUUID(),
    });
    for (const { errors } of body) expect(errors[0].extensions.code).toBe("IDEMPOTENCY_KEY_INVALID");
  });
});

it.each([
  ["no JSON", "{ viewer", 400],
  ["larger than 100 kB", JSON.stringify({ query: "{ viewer { id } }", more: "x".repeat(110_000) }), 413],
])("answers a body that is %s in GraphQL's form, without a stack", async (_case, body, status) => {
  const response = await at("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });
  expect(response.status).toBe(status);
  expect(await response.json()).toEqual({
    errors: [
      {
        message: expect.stringMatching(/^The request's body can't be used: [^\n]+$/),
        extensions: { code: "BAD_REQUEST" },
      },
    ],
  });
});

it.each([
  ["a query", "query ($text: ID!) { order(id: $text) { id } }"],
  [
    "a protected mutation",
    `mutation ($text: String!, $key: ID = "key") {
    createOrder(input: { productId: "${jug}", quantity: 1, note: $text }, idempotencyKey: $key) { id }
  }`,
  ],
  ["another mutation", "mutation ($text: String!) { updateAddress(address: $text) { id } }"],
])("refuses the character NUL, which not every database can keep, in %s", async (_case, query) => {
  const { body } = await shop.ask({ query, variables: { text: "a\0b" } });
  expect(body.errors[0]).toMatchObject({
    message: expect.stringContaining("without the character NUL"),
    extensions: { code: "BAD_USER_INPUT" },
  });
});

it("masks a fault outside of protected mutations too, and keeps what queries are given out of the log", async () => {
  const order = await shop.ask(createOrder(randomUUID(), grinder));
  await shop.query("ALTER TABLE products RENAME TO secret_products");
  const { body } = await shop.ask(`mutation { cancelOrder(id: "${order.body.data.createOrder.id}") { id } }`);
  await shop.query("ALTER TABLE secret_products RENAME TO products");
  expect(body.errors[0]).toMatchObject({
    message: "Internal server error",
    extensions: { code: "INTERNAL_SERVER_ERROR" },
  });
  expect(JSON.stringify(body)).not.toMatch(/products|update|stack/);
  await expect.poll(shop.output).toMatch(/no such table: products|relation "products" does not exist/);
  expect(shop.output()).not.toContain(grinder);
});
