import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Answer, type StartedServer, startServer } from "../start-server.ts";
import { call, effects, newKey, refusal } from "./calls.ts";

// Rows of the table of cases in PROTOCOL.md, over HTTP: calls that fail.

let server: StartedServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

describe("a call that fails before its resolver", () => {
  it("by validation gets that error, and its key is not used up", async () => {
    const key = newKey();
    const { status, body } = await server.ask(call("createOrder", key, "item: 5"));
    expect({ status, code: body.errors[0].extensions.code }).toEqual({
      status: 400,
      code: "GRAPHQL_VALIDATION_FAILED",
    });
    const { body: mended } = await server.ask(call("createOrder", key));
    expect(mended.extensions.idempotency[0].replayed).toBe(false);
  });
});

describe("a resolver that throws", () => {
  it("under errors: RETRY leaves nothing behind, and a retry runs again", async () => {
    const key = newKey();
    const before = server.workshop.ran.length;
    const made = await effects(server, async () => {
      for (let count = 0; count < 2; count++) {
        const { status, body } = await server.ask(call("soldOut", key));
        expect(status).toBe(200);
        expect(body.errors[0].extensions).toEqual({
          code: "SOLD_OUT",
          left: 0,
          idempotency: { key, retryable: true, safeToUseNewKey: true },
        });
        expect(body.extensions).toBeUndefined();
      }
    });
    expect(made).toBe(0);
    expect(server.workshop.ran.length).toBe(before + 2);
  });

  it("a GraphQLError under errors: REPLAY has it as its result, now and on every retry", async () => {
    const key = newKey();
    const before = server.workshop.ran.length;
    const answers: Answer[] = [];
    const made = await effects(server, async () => {
      for (let count = 0; count < 3; count++) answers.push(await server.ask(call("soldOutForGood", key)));
    });
    expect(made).toBe(0);
    expect(server.workshop.ran.length).toBe(before + 1);
    const [first, ...retries] = answers.map(({ body }) => body.errors);
    expect(first).toMatchObject([
      {
        message: "The item is sold out.",
        path: ["soldOutForGood"],
        extensions: {
          code: "SOLD_OUT",
          left: 0,
          idempotency: { key, retryable: false, safeToUseNewKey: true },
        },
      },
    ]);
    expect(retries).toEqual([first, first]);
    expect(answers.map(({ headers }) => headers.get("idempotent-replayed"))).toEqual([null, "true", "true"]);
  });

  it("anything else is a fault: masked, never replayed, and a retry runs again", async () => {
    const key = newKey();
    const before = server.workshop.ran.length;
    const made = await effects(server, async () => {
      for (let count = 0; count < 2; count++) {
        const { body } = await server.ask(call("faulty", key));
        expect(body.errors).toMatchObject([
          {
            message: "Internal server error",
            extensions: {
              code: "INTERNAL_SERVER_ERROR",
              idempotency: { key, retryable: true, safeToUseNewKey: true },
            },
          },
        ]);
        expect(JSON.stringify(body)).not.toMatch(/secret|vault|SELECT|\.ts/);
      }
    });
    expect(made).toBe(0);
    expect(server.workshop.ran.length).toBe(before + 2);
  });
});

describe("a result", () => {
  it("of null is replayed as null, and the effect happened once", async () => {
    const key = newKey();
    const made = await effects(server, async () => {
      for (const replayed of [false, true]) {
        const { body } = await server.ask(call("noResult", key));
        expect(body).toMatchObject({ data: { noResult: null }, extensions: { idempotency: [{ replayed }] } });
        expect(body.errors).toBeUndefined();
      }
    });
    expect(made).toBe(1);
  });

  it.each([
    ["unstorable", "can't be stored", /^result\.lines\[0\]\.total is a function/],
    ["tooLarge", "is too large", /^The result takes \d+ bytes, and at most 1048576 can be stored/],
  ])("(%s) that %s is a server error, and its effect is rolled back", async (field, _fault, message) => {
    const key = newKey();
    const made = await effects(server, async () => {
      expect(refusal(await server.ask(call(field, key)))).toEqual({
        status: 500,
        retryAfter: null,
        message: expect.stringMatching(message),
        code: "IDEMPOTENCY_RESULT_UNSTORABLE",
        key,
        retryable: true,
        safeToUseNewKey: false,
      });
    });
    expect(made).toBe(0);
  });
});
