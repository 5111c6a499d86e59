import Sqlite from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { resolversFor } from "../orders-schema.ts";
import { type StartedServer, startServer } from "../start-server.ts";

let server: StartedServer;
beforeAll(async () => {
  server = await startServer();
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
