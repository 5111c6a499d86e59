import Sqlite from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Answer, noon, type StartedServer, startServer } from "./start-server.ts";

// Each row of the table of cases in PROTOCOL.md, over HTTP. What an answer leaves out is checked elsewhere.

let server: StartedServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

let lastKey = 0;
const newKey = () => `key-${++lastKey}`;

/** One mutation, with its key as an argument. */
function call(field: string, key: string, rest = 'item: "cup"'): string {
  return `mutation { ${field}(${rest}, idempotencyKey: "${key}") { id item quantity } }`;
}

function refusal({ status, headers, body }: Answer) {
  const { message, extensions } = body.errors[0];
  return {
    status,
    retryAfter: headers.get("retry-after"),
    message,
    code: extensions.code,
    ...extensions.idempotency,
  };
}

/** Asks, and tells how many orders that made. */
async function effects(ask: () => Promise<unknown>): Promise<number> {
  const before = await server.countOrders();
  await ask();
  return (await server.countOrders()) - before;
}

describe("first call and retries", () => {
  it("runs the resolver once for any number of calls, and gives each the first result", async () => {
    const key = newKey();
    const answers: Answer[] = [];
    const made = await effects(async () => {
      for (let count = 0; count < 3; count++) answers.push(await server.ask(call("createOrder", key)));
    });
    const [first, ...retries] = answers.map(({ body }) => body.data.createOrder);
    expect(made).toBe(1);
    expect(first).toEqual({ id: expect.any(String), item: "cup", quantity: 1 });
    expect(retries).toEqual([first, first]);
    expect(answers.map(({ body }) => body.extensions.idempotency[0].replayed)).toEqual([false, true, true]);
  });

  it("answers a retry with another selection set from the first result", async () => {
    const key = newKey();
    const { body: first } = await server.ask(
      `mutation { createOrder(item: "cup", idempotencyKey: "${key}") { id } }`,
    );
    const { body: retry } = await server.ask(
      `mutation { createOrder(item: "cup", idempotencyKey: "${key}") { customer number: id } }`,
    );
    expect(retry.data.createOrder).toEqual({ customer: "alice", number: first.data.createOrder.id });
  });

  it("takes literals and variables, defaults and explicit values, and ignored arguments for the same call", async () => {
    const key = newKey();
    const { body: first } = await server.ask(call("createOrder", key, 'item: "cup", note: "first"'));
    const { body: retry } = await server.ask({
      query:
        "mutation ($item: String!, $key: ID) { createOrder(idempotencyKey: $key, quantity: 1, item: $item) { id item quantity } }",
      variables: { key, item: "cup" },
    });
    expect(retry.data).toEqual(first.data);
    expect(retry.extensions.idempotency[0].replayed).toBe(true);
  });

  it("keeps the keys of two customers apart, and those of two mutations", async () => {
    const key = newKey();
    const made = await effects(async () => {
      await server.ask(call("createOrder", key));
      await server.ask(call("createOrder", key), { authorization: "Bearer bob" });
      await server.ask(call("createRequiredOrder", key));
    });
    expect(made).toBe(3);
  });
});

describe("the same key with other arguments", () => {
  it("is refused with 422, also when nothing but the key is the same", async () => {
    const key = newKey();
    await server.ask(call("createOrder", key));
    const made = await effects(async () => {
      expect(refusal(await server.ask(call("createOrder", key, 'item: "saucer"')))).toEqual({
        status: 422,
        retryAfter: null,
        message: expect.stringContaining("was used for a call with other arguments"),
        code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
        key,
        retryable: false,
        safeToUseNewKey: false,
      });
    });
    expect(made).toBe(0);
  });

  it("is refused at once while the first call still runs", async () => {
    const key = newKey();
    const { started, release } = server.workshop.hold();
    const first = server.ask(call("createOrder", key));
    await started;
    const other = await server.ask(call("createOrder", key, 'item: "saucer"'));
    release();
    expect(refusal(other)).toMatchObject({ status: 422, code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH", key });
    expect((await first).body.errors).toBeUndefined();
  });
});

describe("a duplicate of a call that still runs", () => {
  it("waits for the first one's result by default", async () => {
    const key = newKey();
    const made = await effects(async () => {
      const { started, release } = server.workshop.hold();
      const calls = [server.ask(call("createOrder", key))];
      await started;
      const arrived = server.arrivals(4);
      for (let count = 0; count < 4; count++) calls.push(server.ask(call("createOrder", key)));
      await arrived;
      release();
      const [first, ...duplicates] = await Promise.all(calls);
      for (const { body } of duplicates) {
        expect(body.data).toEqual(first?.body.data);
        expect(body.extensions.idempotency[0].replayed).toBe(true);
      }
    });
    expect(made).toBe(1);
  });

  it("is refused with 409 and Retry-After where the mutation says REJECT", async () => {
    const key = newKey();
    const { started, release } = server.workshop.hold();
    const first = server.ask(call("createOrderOrReject", key));
    await started;
    const duplicate = await server.ask(call("createOrderOrReject", key));
    release();
    expect(refusal(duplicate)).toEqual({
      status: 409,
      retryAfter: "1",
      message: expect.stringContaining("still running"),
      code: "IDEMPOTENCY_CONCURRENT_REQUEST",
      key,
      retryable: true,
      safeToUseNewKey: false,
    });
    const { body } = await first;
    const { body: retry } = await server.ask(call("createOrderOrReject", key));
    expect(retry.data).toEqual(body.data);
  });

  it("is refused with 409 when it has waited as long as it may", async () => {
    await using impatient = await startServer({ idempotency: { waitMs: 20 } });
    const key = newKey();
    const { started, release } = impatient.workshop.hold();
    const first = impatient.ask(call("createOrder", key));
    await started;
    const duplicate = await impatient.ask(call("createOrder", key));
    release();
    await first;
    expect(refusal(duplicate)).toMatchObject({ status: 409, code: "IDEMPOTENCY_CONCURRENT_REQUEST", key });
  });

  it("runs itself when the first one fails", async () => {
    const key = newKey();
    const { started, release } = server.workshop.hold();
    const calls = [server.ask(call("soldOut", key))];
    await started;
    const before = server.workshop.ran.length;
    const arrived = server.arrivals(1);
    calls.push(server.ask(call("soldOut", key)));
    await arrived;
    expect(server.workshop.ran.length).toBe(before);
    release();
    for (const { body } of await Promise.all(calls)) expect(body.errors[0].extensions.code).toBe("SOLD_OUT");
    expect(server.workshop.ran.length).toBe(before + 1);
  });
});

describe("no key", () => {
  it("is refused with 400 where a key is required", async () => {
    const made = await effects(async () => {
      const answer = await server.ask('mutation { createRequiredOrder(item: "cup") { id } }');
      expect(refusal(answer)).toEqual({
        status: 400,
        retryAfter: null,
        message:
          "This mutation requires an idempotency key, in the argument idempotencyKey or on the field as @idempotent(key:) or in the Idempotency-Key header, but none was sent. Send a UUID, the same one with every retry of this call.",
        code: "IDEMPOTENCY_KEY_MISSING",
        key: null,
        retryable: false,
        safeToUseNewKey: true,
      });
    });
    expect(made).toBe(0);
  });

  it("runs unprotected, each time, where the mutation says required: false", async () => {
    const operation = 'mutation { createOrderWithOptionalKey(item: "cup") { id } }';
    const made = await effects(async () => {
      for (let count = 0; count < 2; count++) {
        const { body } = await server.ask(operation);
        expect(body.extensions).toBeUndefined();
      }
    });
    expect(made).toBe(2);
  });
});

describe("a bad key", () => {
  it.each([
    ["is empty", ""],
    ["has a control character", "a\\u0007b"],
    ["has white space at an end", " key"],
    ["has 256 characters", "x".repeat(256)],
  ])("that %s is refused with 400, and the message says so", async (fault, key) => {
    const made = await effects(async () => {
      const { status, code, message, retryable, safeToUseNewKey } = refusal(
        await server.ask(call("createOrder", key)),
      );
      expect({ status, code, retryable, safeToUseNewKey }).toEqual({
        status: 400,
        code: "IDEMPOTENCY_KEY_INVALID",
        retryable: false,
        safeToUseNewKey: true,
      });
      expect(message).toContain(`but it ${fault}`);
    });
    expect(made).toBe(0);
  });

  it.each([
    ["unclosed", '"8e03978e'],
    ["doubled", '"one", "two"'],
    ["doubled, bare", "one, two"],
    ["empty", '""'],
  ])("in a header that is %s is refused with 400", async (_form, header) => {
    const answer = await server.ask('mutation { createOrder(item: "cup") { id } }', {
      "idempotency-key": header,
    });
    expect(refusal(answer)).toMatchObject({ status: 400, code: "IDEMPOTENCY_KEY_INVALID" });
  });

  it.each([
    [
      "header and argument",
      'createOrder(item: "cup", idempotencyKey: "b") { id }',
      { "idempotency-key": "a" },
    ],
    [
      "header and directive",
      'createOrder(item: "cup") @idempotent(key: "b") { id }',
      { "idempotency-key": "a" },
    ],
    [
      "argument and directive",
      'createOrder(item: "cup", idempotencyKey: "a") @idempotent(key: "b") { id }',
      {},
    ],
  ])("is what different keys in %s are", async (_sources, field, headers) => {
    const made = await effects(async () => {
      const answer = await server.ask(`mutation { ${field} }`, headers);
      expect(refusal(answer)).toMatchObject({ status: 400, code: "IDEMPOTENCY_KEY_INVALID" });
    });
    expect(made).toBe(0);
  });

  it("is not what the same key in every source is", async () => {
    const key = newKey();
    const operation = `mutation { createOrder(item: "cup", idempotencyKey: "${key}") @idempotent(key: "${key}") { id } }`;
    const { body } = await server.ask(operation, { "idempotency-key": `"${key}"` });
    expect(body.errors).toBeUndefined();
  });
});

describe("a UUIDv7 key", () => {
  // The first 48 bits are the time in milliseconds (RFC 9562, section 5.7).
  const madeAtNoon = noon
    .toString(16)
    .padStart(12, "0")
    .replace(/^.{8}/, "$&-")
    .concat("-7000-8000-00000000000");

  it("as old as the retention is refused with 422, since its record may be gone", async () => {
    const key = `${madeAtNoon}1`;
    server.clock.now = noon + 3_600_000;
    const made = await effects(async () => {
      expect(refusal(await server.ask(call("createOrderForAnHour", key)))).toEqual({
        status: 422,
        retryAfter: null,
        message: expect.stringContaining("was made at 2026-01-15T12:00:00.000Z"),
        code: "IDEMPOTENCY_KEY_EXPIRED",
        key,
        retryable: false,
        safeToUseNewKey: false,
      });
    });
    server.clock.now = noon;
    expect(made).toBe(0);
  });

  it("that is younger runs, and its record replays although the key is older by then", async () => {
    const key = `${madeAtNoon}2`;
    server.clock.now = noon + 3_599_999;
    const { body: first } = await server.ask(call("createOrderForAnHour", key));
    server.clock.now = noon + 7_199_998;
    const { body: retry } = await server.ask(call("createOrderForAnHour", key));
    server.clock.now = noon;
    expect(first.errors).toBeUndefined();
    expect(retry).toMatchObject({ data: first.data, extensions: { idempotency: [{ replayed: true }] } });
  });
});

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
    const made = await effects(async () => {
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
    const made = await effects(async () => {
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
    const made = await effects(async () => {
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
    const made = await effects(async () => {
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
    const made = await effects(async () => {
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

describe("a store that", () => {
  const unavailable = {
    status: 503,
    retryAfter: "1",
    message: expect.stringContaining("Retry with the same key"),
    code: "IDEMPOTENCY_STORE_UNAVAILABLE",
    retryable: true,
    safeToUseNewKey: false,
  };

  it("is locked for too long answers 503, and the retry runs", async () => {
    await using locked = await startServer({ database: { lockWaitMs: 20 } });
    const key = newKey();
    const other = new Sqlite(locked.database.file);
    other.exec("BEGIN IMMEDIATE");
    expect(refusal(await locked.ask(call("createOrder", key)))).toEqual({ ...unavailable, key });
    other.close();
    expect(refusalOrReplayed(await locked.ask(call("createOrder", key)))).toBe(false);
    expect(await locked.countOrders()).toBe(1);
  });

  it("is full answers 503, and has neither effect nor record", async () => {
    await using full = await startServer({
      database: { configure: (connection) => connection.pragma("max_page_count = 1") }, // what there is, and no more
    });
    const key = newKey();
    const text = "x".repeat(100_000);
    expect(refusal(await full.ask(call("createOrder", key, `item: "${text}"`)))).toEqual({
      ...unavailable,
      key,
    });
    expect(await full.countOrders()).toBe(0);
    expect(refusalOrReplayed(await full.ask(call("createOrder", key)))).toBe(false);
  });

  it("is read-only answers 503", async () => {
    await using readonly = await startServer({
      database: { configure: (connection) => connection.pragma("query_only = ON") },
    });
    const key = newKey();
    expect(refusal(await readonly.ask(call("createOrder", key)))).toEqual({ ...unavailable, key });
  });

  it("can't be reached answers 503", async () => {
    await using closed = await startServer();
    await closed.database.close();
    const key = newKey();
    expect(refusal(await closed.ask(call("createOrder", key)))).toEqual({ ...unavailable, key });
  });

  function refusalOrReplayed({ body }: Answer) {
    return body.errors ?? body.extensions.idempotency[0].replayed;
  }
});

describe("when the retention is over", () => {
  it("the key runs as if it were new, and leaves a new record", async () => {
    const key = newKey();
    const { body: first } = await server.ask(call("createOrderForAnHour", key));
    server.clock.now = noon + 3_599_999;
    const { body: retry } = await server.ask(call("createOrderForAnHour", key));
    server.clock.now = noon + 3_600_000;
    const { body: later } = await server.ask(call("createOrderForAnHour", key, 'item: "saucer"'));
    const { body: again } = await server.ask(call("createOrderForAnHour", key, 'item: "saucer"'));
    server.clock.now = noon;
    expect(retry.data).toEqual(first.data);
    expect(later).toMatchObject({ data: { createOrderForAnHour: { item: "saucer" } } });
    expect(later.extensions.idempotency).toEqual([
      {
        path: ["createOrderForAnHour"],
        key,
        replayed: false,
        resourceId: later.data.createOrderForAnHour.id,
        createdAt: "2026-01-15T13:00:00.000Z",
        expiresAt: "2026-01-15T14:00:00.000Z",
      },
    ]);
    expect(again.data).toEqual(later.data);
  });
});
