import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { asBob, type StartedShop, startShop } from "./start-shop.ts";

let shop: StartedShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop[Symbol.asyncDispose]());

async function newOrder(headers = {}): Promise<string> {
  const { body } = await shop.ask(
    `mutation { createOrder(input: { productId: "01990000-0000-7000-8000-000000000105", quantity: 2 }) { id } }`,
    { "idempotency-key": randomUUID(), ...headers },
  );
  return body.data.createOrder.id;
}

function issueInvoice(orderId: string, number: string, key: string = randomUUID()): object {
  return {
    query: `mutation ($orderId: ID!, $number: String!, $key: ID!) {
      issueInvoice(orderId: $orderId, number: $number, idempotencyKey: $key) {
        id number order { id } total { amount currency } issuedAt
      }
    }`,
    variables: { orderId, number, key },
  };
}

it("issues one invoice for any number of retries", async () => {
  const orderId = await newOrder();
  const operation = issueInvoice(orderId, "2026-0001");
  const first = await shop.ask(operation);
  const retry = await shop.ask(operation);
  expect(first.body.data.issueInvoice).toEqual({
    id: expect.any(String),
    number: "2026-0001",
    order: { id: orderId },
    total: { amount: 1_980, currency: "EUR" },
    issuedAt: expect.any(String),
  });
  expect(retry.body.data).toEqual(first.body.data);
  expect(await shop.query("SELECT id FROM invoices WHERE number = '2026-0001'")).toHaveLength(1);
});

it("gives a number to one of many concurrent calls with keys of their own", async () => {
  const orderId = await newOrder();
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => shop.ask(issueInvoice(orderId, "2026-0002"))),
  );
  const codes = answers.map(({ body }) => body.errors?.[0].extensions.code ?? "issued");
  expect(codes.filter((code) => code === "issued")).toHaveLength(1);
  expect(codes.filter((code) => code === "INVOICE_NUMBER_TAKEN")).toHaveLength(19);
});

it("repeats a refusal to each retry, even when its reason is gone: the error is the result", async () => {
  const orderId = await newOrder();
  const { body: issued } = await shop.ask(issueInvoice(orderId, "2026-0003"));
  const operation = issueInvoice(orderId, "2026-0003");
  const first = await shop.ask(operation);
  await shop.query(`DELETE FROM invoices WHERE id = '${issued.data.issueInvoice.id}'`);
  const retry = await shop.ask(operation);
  for (const { body } of [first, retry]) {
    expect(body.data).toBeNull();
    expect(body.errors[0]).toMatchObject({
      message: expect.stringContaining('"2026-0003" is that of another invoice'),
      extensions: {
        code: "INVOICE_NUMBER_TAKEN",
        idempotency: { retryable: false, safeToUseNewKey: true },
      },
    });
  }
  const { body: underNewKey } = await shop.ask(issueInvoice(orderId, "2026-0003"));
  expect(underNewKey.data.issueInvoice.number).toBe("2026-0003");
});

it.each(["", "two words", "x".repeat(65)])("refuses the number %j", async (number) => {
  const { body } = await shop.ask(issueInvoice(await newOrder(), number));
  expect(body.errors[0].extensions.code).toBe("BAD_USER_INPUT");
});

it("refuses an invoice for a cancelled order", async () => {
  const orderId = await newOrder();
  await shop.ask(`mutation { cancelOrder(id: "${orderId}") { id } }`);
  const { body } = await shop.ask(issueInvoice(orderId, "2026-0004"));
  expect(body.errors[0].extensions.code).toBe("BAD_USER_INPUT");
});

it("shows an invoice to its order's customer and to nobody else", async () => {
  const { body: issued } = await shop.ask(issueInvoice(await newOrder(), "2026-0005"));
  const invoice = `{ invoice(id: "${issued.data.issueInvoice.id}") { number } }`;
  const { body: own } = await shop.ask(invoice);
  expect(own.data.invoice).toEqual({ number: "2026-0005" });
  const { body: foreign } = await shop.ask(invoice, asBob);
  expect(foreign).toMatchObject({ data: { invoice: null }, errors: [{ extensions: { code: "NOT_FOUND" } }] });
});
