import { createHash } from "node:crypto";
import Sqlite from "better-sqlite3";
import { GraphQLError } from "graphql";
import { IdempotencyError } from "graphql-idempotent";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { httpOf } from "../src/errors.ts";
import { orders, resolversFor } from "./orders-schema.ts";
import { type StartedServer, startServer } from "./start-server.ts";

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

describe("extensions.idempotency", () => {
  it("lists each protected field with all that a client may want to know", async () => {
    const [one, two] = [newKey(), newKey()];
    await server.ask(`mutation { ${create(one)} }`);
    const { headers, body } = await server.ask(
      `mutation { ${create(one, { alias: "a" })} ${create(two, { alias: "b" })} }`,
    );
    const times = { createdAt: "2026-01-15T12:00:00.000Z", expiresAt: "2026-01-16T12:00:00.000Z" };
    expect(body.extensions.idempotency).toEqual([
      { path: ["a"], key: one, replayed: true, resourceId: body.data.a.id, ...times },
      { path: ["b"], key: two, replayed: false, resourceId: body.data.b.id, ...times },
    ]);
    expect(headers.get("idempotent-replayed")).toBeNull();
  });

  it("is absent where no field is protected", async () => {
    for (const operation of ["{ orders { id } }", 'mutation { unprotected(item: "cup") { id } }']) {
      expect((await server.ask(operation)).body).not.toHaveProperty("extensions");
    }
  });

  it("joins what other plugins have put there", async () => {
    await using other = await startServer({
      apollo: {
        plugins: [
          {
            async requestDidStart() {
              return {
                async willSendResponse({ response: { body } }) {
                  if (body.kind === "single") {
                    body.singleResult.extensions = { ...body.singleResult.extensions, cost: 1 };
                  }
                },
              };
            },
          },
        ],
      },
    });
    const { body } = await other.ask(`mutation { ${create(newKey())} }`);
    expect(body.extensions).toEqual({ cost: 1, idempotency: [expect.anything()] });
  });
});

describe("Idempotent-Replayed", () => {
  it("is sent when every protected field was a replay", async () => {
    const [one, two] = [newKey(), newKey()];
    const operation = `mutation { ${create(one, { alias: "a" })} ${create(two, { alias: "b" })} }`;
    expect((await server.ask(operation)).headers.get("idempotent-replayed")).toBeNull();
    expect((await server.ask(operation)).headers.get("idempotent-replayed")).toBe("true");
  });

  it("is not sent when another protected field failed", async () => {
    const key = newKey();
    await server.ask(`mutation { ${create(key)} }`);
    const { headers, body } = await server.ask(
      `mutation { ${create(key, { alias: "a" })} ${create(key, { alias: "b", item: "saucer" })} }`,
    );
    expect(body).toMatchObject({ data: { a: {}, b: null } });
    expect(headers.get("idempotent-replayed")).toBeNull();
  });
});

describe("a stored result that can't be read", () => {
  it("is no result: it is neither listed nor called a replay", async () => {
    const key = newKey();
    await server.ask(`mutation { ${create(key)} }`);
    const other = new Sqlite(server.database.file);
    other.prepare("UPDATE idempotency_records SET payload = '{' WHERE key = ?").run(key);
    other.close();
    const { status, headers, body } = await server.ask(`mutation { ${create(key)} }`);
    expect(status).toBe(500);
    expect(headers.get("idempotent-replayed")).toBeNull();
    expect(body).not.toHaveProperty("extensions");
    expect(body.errors[0].extensions).toEqual({
      code: "IDEMPOTENCY_RECORD_UNREADABLE",
      idempotency: { key, retryable: false, safeToUseNewKey: false },
    });
  });
});

describe("the HTTP status", () => {
  it.each([
    ["one protected field failed", withoutKey, 400],
    ["all fields failed", `a: ${withoutKey} b: ${withoutKey}`, 400],
    ["all fields failed, and __typename didn't", `__typename ${create(" bad")}`, 400],
    [
      "a field failed for good and another was refused",
      `${create("gone", { field: "soldOutForGood" })} ${withoutKey}`,
      400,
    ],
    [
      "a field was refused inside of fragments",
      `... on Mutation { ...all } } fragment all on Mutation { ${withoutKey}`,
      400,
    ],
    ["a protected field succeeded", `${create("good")} ${withoutKey}`, 200],
    ["an unprotected field succeeded", `unprotected(item: "cup") { id } ${withoutKey}`, 200],
    ["one succeeded after a nullable one failed", `${create(" bad")} unprotected(item: "cup") { id }`, 200],
    ["the error is the resolver's own", create("own", { field: "soldOut" }), 200],
  ])("when %s", async (_case, fields, status) => {
    const answer = await server.ask(`mutation { ${fields} }`);
    expect(answer.body.errors).not.toHaveLength(0);
    expect(answer.status).toBe(status);
  });

  it("is 200 when a field took effect and only a field below it failed", async () => {
    await using brittle = await startServer({
      resolvers: (database, workshop) => ({
        ...resolversFor(database, workshop),
        Order: {
          quantity: () => {
            throw new Error("can't read");
          },
        },
      }),
    });
    const { status, body } = await brittle.ask(
      `mutation { unprotected(item: "cup") { id quantity } createRequiredOrder(item: "cup") { id } }`,
    );
    expect(body.data).toBeNull();
    expect(status).toBe(200);
    expect(await brittle.countOrders()).toBe(1);
  });

  it("comes with a body of the media type that the client accepts", async () => {
    const { status, headers } = await server.ask(`mutation { ${withoutKey} }`, {
      accept: "application/graphql-response+json",
    });
    expect(status).toBe(400);
    expect(headers.get("content-type")).toMatch("application/graphql-response+json");
  });
});

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

describe("an error of a resolver", () => {
  it.each([
    ["that breaks a constraint of the database", "constraint", "INTERNAL_SERVER_ERROR"],
    ["in its SQL", "sql", "INTERNAL_SERVER_ERROR"],
    ["thrown as a string", "string", "INTERNAL_SERVER_ERROR"],
  ])("%s shows neither message nor SQL nor stack", async (_case, item, code) => {
    await using broken = await startServer({ resolvers: brokenResolvers });
    const key = newKey();
    const { body } = await broken.ask(`mutation { ${create(key, { item })} }`);
    expect(body).toEqual({
      data: { createOrder: null },
      errors: [
        {
          message: "Internal server error",
          path: ["createOrder"],
          locations: [{ line: 1, column: 12 }],
          extensions: { code, idempotency: { key, retryable: true, safeToUseNewKey: true } },
        },
      ],
    });
    expect(await broken.countOrders()).toBe(0);
  });

  it.each(["returned", "placed elsewhere"])(
    "that is %s is an error at the field's own place",
    async (item) => {
      await using broken = await startServer({ resolvers: brokenResolvers });
      const operation = `mutation { ${create(newKey(), { item, field: "soldOutForGood" })} }`;
      const { body: first } = await broken.ask(operation);
      const { body: retry } = await broken.ask(operation);
      expect(first.errors).toMatchObject([
        {
          message: "No.",
          path: ["soldOutForGood"],
          locations: [{ line: 1, column: 12 }],
          extensions: { code: "NO" },
        },
      ]);
      expect(retry.errors).toEqual(first.errors);
      expect(await broken.countOrders()).toBe(0);
    },
  );

  it("leaves the fault itself to the server's own log", async () => {
    const logged: unknown[] = [];
    await using logging = await startServer({
      apollo: {
        plugins: [
          {
            async requestDidStart() {
              return {
                async didEncounterErrors({ errors }) {
                  logged.push(errors[0]?.originalError);
                },
              };
            },
          },
        ],
      },
    });
    await logging.ask(`mutation { ${create(newKey(), { field: "faulty" })} }`);
    expect(logged).toEqual([new Error("SELECT secret FROM vault failed")]);
  });

  const brokenResolvers: typeof resolversFor = (database, workshop) => {
    const resolvers = resolversFor(database, workshop);
    const values = { customer: "alice", item: "cup", quantity: 1 };
    const no = { extensions: { code: "NO" } };
    return {
      ...resolvers,
      Mutation: {
        ...resolvers.Mutation,
        async createOrder(_root, { item }, { tx }) {
          const [order] = await tx.insert(orders).values(values).returning();
          if (item === "constraint") await tx.insert(orders).values({ ...values, id: order?.id });
          if (item === "sql") tx.run("INSERT INTO secret VALUES (1)");
          throw "SELECT secret";
        },
        async soldOutForGood(_root, { item }, { tx }) {
          await tx.insert(orders).values(values);
          if (item === "returned") return new GraphQLError("No.", no) as never; // as JavaScript may do
          throw new GraphQLError("No.", { ...no, path: ["another", "operation"] });
        },
      },
    };
  };
});

describe("httpOf()", () => {
  it("knows every code of this package and no other", () => {
    expect(httpOf(new IdempotencyError("IDEMPOTENCY_KEY_MISSING", "").code)).toMatchObject({ status: 400 });
    for (const code of ["SOLD_OUT", "toString", undefined, 5]) expect(httpOf(code)).toBeUndefined();
  });
});
