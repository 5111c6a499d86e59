import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noon, type StartedServer, startServer } from "../start-server.ts";
import { call, effects, newKey, refusal } from "./calls.ts";

// Rows of the table of cases in PROTOCOL.md, over HTTP: keys that are refused.

let server: StartedServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

describe("no key", () => {
  it("is refused with 400 where a key is required", async () => {
    const made = await effects(server, async () => {
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
    const made = await effects(server, async () => {
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
    const made = await effects(server, async () => {
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
    const made = await effects(server, async () => {
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
    const made = await effects(server, async () => {
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
