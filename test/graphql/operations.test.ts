import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type StartedServer, startServer } from "../start-server.ts";

let server: StartedServer;
beforeAll(async () => {
  server = await startServer({ apollo: { allowBatchedHttpRequests: true } });
});
afterAll(() => server[Symbol.asyncDispose]());

let lastKey = 0;
const newKey = () => `signal-${++lastKey}`;

function create(key: string, { alias = "", item = "cup", field = "createOrder" } = {}): string {
  return `${alias && `${alias}: `}${field}(item: "${item}", idempotencyKey: "${key}") { id }`;
}

const withoutKey = 'createRequiredOrder(item: "cup") { id }';

describe("several root fields", () => {
  it("are transactions of their own, in order: the failure of one leaves the others", async () => {
    const keys = [newKey(), newKey(), newKey()] as const;
    const operation = `mutation { ${create(keys[0], { alias: "a" })} ${create(keys[1], { field: "soldOut" })} ${create(keys[2], { alias: "c" })} }`;
    const before = await server.countOrders();
    const { body: first } = await server.ask(operation);
    const { body: retry } = await server.ask(operation);
    expect(first).toMatchObject({ data: { soldOut: null }, errors: [{ path: ["soldOut"] }] });
    expect(Number(first.data.c.id)).toBeGreaterThan(Number(first.data.a.id));
    expect(retry.data).toEqual(first.data);
    expect(await server.countOrders()).toBe(before + 2);
  });

  it("with the same key in two aliases are one call: the second is a replay, or refused for other arguments", async () => {
    const key = newKey();
    const before = await server.countOrders();
    const { body } = await server.ask(
      `mutation { ${create(key, { alias: "a" })} ${create(key, { alias: "b" })} ${create(key, { alias: "c", item: "saucer" })} }`,
    );
    expect(body.data.b).toEqual(body.data.a);
    expect(body.errors).toMatchObject([
      { path: ["c"], extensions: { code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH" } },
    ]);
    expect(await server.countOrders()).toBe(before + 1);
  });

  it("under one header have keys of their own, made of the header's and the field's response name", async () => {
    const key = newKey();
    const operation = 'mutation { a: createOrder(item: "cup") { id } b: createOrder(item: "cup") { id } }';
    const { body: first } = await server.ask(operation, { "idempotency-key": `"${key}"` });
    const { body: retry } = await server.ask(operation, { "idempotency-key": key });
    expect(first.data.a.id).not.toBe(first.data.b.id);
    expect(first.extensions.idempotency).toMatchObject([
      { path: ["a"], key },
      { path: ["b"], key },
    ]);
    expect(retry.data).toEqual(first.data);
  });
});

describe("the client's directive", () => {
  it("carries the key of each field, also inside of fragments", async () => {
    const key = newKey();
    const operation = {
      query: `mutation ($key: String!) { ...orders }
        fragment orders on Mutation { createOrder(item: "cup") @idempotent(key: $key) { ...order } }
        fragment order on Order { id }`,
      variables: { key },
    };
    const { body: first } = await server.ask(operation);
    const { body: retry } = await server.ask(
      `mutation { createOrder(item: "cup") @idempotent(key: "${key}") { id } }`,
    );
    expect(retry).toMatchObject({ data: first.data, extensions: { idempotency: [{ key, replayed: true }] } });
  });

  it.each([
    [
      "with an argument that is the schema's",
      'createOrder(item: "cup") @idempotent(key: "a", retention: "1s") { id }',
    ],
    ["on a mutation without protection", 'unprotected(item: "cup") @idempotent(key: "a") { id }'],
    [
      "with two keys for one response name",
      'createOrder(item: "cup") @idempotent(key: "a") { id } createOrder(item: "cup") @idempotent(key: "b") { id }',
    ],
  ])("%s is refused, and nothing runs", async (_case, field) => {
    const before = await server.countOrders();
    const { status, body } = await server.ask(`mutation { ${field} }`);
    expect(body.errors[0].extensions.code).toBe("IDEMPOTENCY_KEY_INVALID");
    expect(status).toBe(400);
    expect(await server.countOrders()).toBe(before);
  });
});

describe("an HTTP batch", () => {
  it("answers each operation by itself, and leaves status and headers alone", async () => {
    const key = newKey();
    const batch = [
      { query: `mutation { ${create(key)} }` },
      { query: `mutation { ${withoutKey} }` },
      { query: "{ orders { id } }" },
    ];
    const { body: first } = await server.ask(batch);
    const { status, headers, body: retry } = await server.ask(batch);
    expect(first[0].extensions.idempotency).toMatchObject([{ key, replayed: false }]);
    expect(retry[0]).toMatchObject({
      data: first[0].data,
      extensions: { idempotency: [{ key, replayed: true }] },
    });
    expect(retry[1].errors[0].extensions.code).toBe("IDEMPOTENCY_KEY_MISSING");
    expect(retry[2]).not.toHaveProperty("extensions");
    expect(status).toBe(200);
    expect(headers.get("idempotent-replayed")).toBeNull();
  });

  it("with an Idempotency-Key header is refused with 400 and nothing runs, since it can't be the key of each", async () => {
    const before = await server.countOrders();
    const operation = { query: 'mutation { createOrder(item: "cup") { id } }' };
    const { status, body } = await server.ask([operation, operation], { "idempotency-key": newKey() });
    expect(status).toBe(400);
    for (const { errors } of body) {
      expect(errors).toMatchObject([
        {
          message: expect.stringContaining("several operations"),
          extensions: { code: "IDEMPOTENCY_KEY_INVALID" },
        },
      ]);
      expect(errors[0].extensions).not.toHaveProperty("http");
    }
    expect(await server.countOrders()).toBe(before);
  });

  it("that sends one key twice at once runs it once", async () => {
    const operation = { query: `mutation { ${create(newKey())} }` };
    const before = await server.countOrders();
    const { body } = await server.ask([operation, operation, operation]);
    expect(
      new Set(body.map(({ data }: { data: { createOrder: { id: string } } }) => data.createOrder.id)).size,
    ).toBe(1);
    expect(await server.countOrders()).toBe(before + 1);
  });
});

describe("a persisted operation", () => {
  it("is retried by its hash alone", async () => {
    const query = 'mutation ($key: ID!) { createOrder(item: "cup", idempotencyKey: $key) { id } }';
    const sha256Hash = createHash("sha256").update(query).digest("hex");
    const operation = {
      variables: { key: newKey() },
      extensions: { persistedQuery: { version: 1, sha256Hash } },
    };
    const { body: unknown } = await server.ask(operation);
    const { body: first } = await server.ask({ ...operation, query });
    const { body: retry } = await server.ask(operation);
    expect(unknown.errors[0].extensions.code).toBe("PERSISTED_QUERY_NOT_FOUND");
    expect(first.extensions.idempotency).toMatchObject([{ replayed: false }]);
    expect(retry).toMatchObject({ data: first.data, extensions: { idempotency: [{ replayed: true }] } });
  });
});
