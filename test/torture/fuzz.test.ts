import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readConfiguration } from "../../src/shop/configuration.ts";
import { leaks } from "./checks.ts";
import { order, product } from "./shop/client.ts";
import { killLeftovers, type ShopProcess, startShopProcess } from "./shop/shop-process.ts";

afterAll(killLeftovers);

const seed = Number(process.env.TORTURE_SEED ?? Date.now() % 2 ** 31);
const folder = mkdtempSync(join(tmpdir(), "torture-fuzz-"));
let shop: ShopProcess;

beforeAll(async () => {
  shop = await startShopProcess({ databaseFile: join(folder, "shop.db") });
});

afterAll(async () => {
  shop.signal("SIGTERM");
  await shop.ended;
  rmSync(folder, { recursive: true, force: true });
});

/** No fault is planted, so none may show: the input is to blame, and the answer says so. */
async function expectNoFault(
  headers: Record<string, string>,
  body: string | Uint8Array<ArrayBuffer>,
): Promise<void> {
  const response = await fetch(shop.url, {
    method: "POST",
    headers: { authorization: "Bearer alice-token", "content-type": "application/json", ...headers },
    body,
  });
  const text = await response.text();
  expect(response.status, text).toBeLessThan(500);
  expect(text).not.toContain("INTERNAL_SERVER_ERROR");
  expect(leaks(text, ["SQLITE", "idempotency_records", "    at ", "node_modules"])).toEqual([]);
  JSON.parse(text);
  expect(shop.log()).not.toMatch(/error/i);
}

async function fuzz<Input>(
  arbitrary: fc.Arbitrary<Input>,
  check: (input: Input) => Promise<void>,
): Promise<void> {
  await fc.assert(fc.asyncProperty(arbitrary, check), { numRuns: 120, seed, includeErrorInReport: true });
}

const anyText = fc.oneof(
  fc.string({ unit: "binary", maxLength: 300 }),
  fc.string({ unit: "grapheme", maxLength: 300 }),
  // Halves of surrogate pairs, control characters, and other units that are no text.
  fc
    .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 })
    .map((units) => String.fromCharCode(...units)),
  fc.constantFrom(
    "__proto__",
    "constructor",
    "a".repeat(256),
    " a",
    "a\r\nx: y",
    "';DROP TABLE orders;--",
    "\u0000",
  ),
);

describe(`whatever a client sends, the server has no fault (TORTURE_SEED=${seed})`, () => {
  it("as keys, by argument, header and directive", async () => {
    const key = fc.oneof(anyText, fc.jsonValue());
    // What a header can carry at all: fetch refuses the rest.
    const headerCharacter = fc.integer({ min: 0x20, max: 0xff }).filter((code) => code !== 0x7f);
    const headerText = fc.array(headerCharacter).map((codes) => String.fromCharCode(...codes));
    const header = fc.option(headerText);
    await fuzz(fc.tuple(key, fc.option(key), header), async ([argument, directive, inHeader]) => {
      const { variables } = order("", 1);
      const query = `mutation ($input: CreateOrderInput!, $key: ID, $directive: String) {
        createOrder(input: $input, idempotencyKey: $key) @idempotent(key: $directive) { id } }`;
      const body = JSON.stringify({ query, variables: { ...variables, key: argument, directive } });
      await expectNoFault(inHeader === null ? {} : { "idempotency-key": inHeader.trim() }, body);
    });
  });

  it("as arguments", async () => {
    const input = fc.record(
      {
        productId: fc.oneof(fc.constant(product), anyText, fc.jsonValue()),
        quantity: fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger(), fc.jsonValue()),
        note: fc.oneof(anyText, fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    await fuzz(fc.tuple(fc.uuid(), input), async ([key, arbitraryInput]) => {
      const { query } = order(key, 1);
      await expectNoFault({}, JSON.stringify({ query, variables: { key, input: arbitraryInput } }));
    });
    const transferInput = fc.record({
      idempotencyKey: fc.uuid(),
      fromAccountId: fc.oneof(fc.constant("01990000-0000-7000-8000-000000000011"), anyText),
      toAccountId: fc.oneof(fc.constant("01990000-0000-7000-8000-000000000022"), anyText),
      amount: fc.oneof(fc.integer(), fc.maxSafeInteger()),
    });
    await fuzz(transferInput, async (arbitraryInput) => {
      const query = "mutation ($input: TransferFundsInput!) { transferFunds(input: $input) { id } }";
      await expectNoFault({}, JSON.stringify({ query, variables: { input: arbitraryInput } }));
    });
  });

  it("as operations", async () => {
    const valid = [
      order("fuzz", 1).query,
      "{ viewer { name accounts { id balance { amount } } } products(first: 5) { id stock } }",
      'mutation A { a: updateAddress(address: "x") { id } b: cancelOrder(id: "y") { id } }',
    ];
    const edit = fc.record({
      at: fc.nat(300),
      cut: fc.nat(20),
      insert: fc.oneof(anyText, fc.constantFrom("{", "}", "...", "@", "$", '"')),
    });
    await fuzz(
      fc.tuple(fc.constantFrom(...valid), fc.array(edit, { maxLength: 3 })),
      async ([start, edits]) => {
        const query = edits.reduce(
          (text, { at, cut, insert }) => text.slice(0, at) + insert + text.slice(at + cut),
          start,
        );
        await expectNoFault({}, JSON.stringify({ query, variables: order("fuzz", 1).variables }));
      },
    );
  });

  it("as bodies and content types", async () => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => new Uint8Array(bytes)),
      fc.json(),
      fc.jsonValue().map((value) => JSON.stringify([value])),
    );
    const type = fc.constantFrom(
      "application/json",
      "text/plain",
      "application/x-www-form-urlencoded",
      "application/json; charset=utf-7",
    );
    await fuzz(fc.tuple(body, type), ([arbitraryBody, contentType]) =>
      expectNoFault({ "content-type": contentType }, arbitraryBody),
    );
  });

  it("nested as deep as a body may be", async () => {
    const depth = 30_000;
    await expectNoFault({}, JSON.stringify({ query: "{a".repeat(depth) + "}".repeat(depth) }));
    await expectNoFault(
      {},
      JSON.stringify({ query: `{ product(id: ${"[".repeat(depth)}${"]".repeat(depth)}) { id } }` }),
    );
    const { query } = order("deep", 1);
    await expectNoFault(
      {},
      `{"query":${JSON.stringify(query)},"variables":{"key":"deep","input":${"[".repeat(depth)}${"]".repeat(depth)}}}`,
    );
  });
});

it("whatever PORT and DATABASE_URL say, they are taken or refused in one line", () => {
  fc.assert(
    fc.property(
      anyText,
      fc.oneof(
        anyText,
        anyText.map((text) => `file:${text}`),
        fc.webUrl(),
      ),
      (PORT, DATABASE_URL) => {
        try {
          const { database, port } = readConfiguration({ PORT, DATABASE_URL });
          expect(database).not.toEqual({ kind: "sqlite", file: "" });
          expect(port).toBeGreaterThanOrEqual(0);
        } catch (error) {
          expect((error as Error).message).toMatch(/^(PORT|DATABASE_URL) [^\r\n]+\.$/); // `as`: it throws errors
        }
      },
    ),
    { numRuns: 500, seed, includeErrorInReport: true },
  );
});
