import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Answer, noon, type StartedServer, startServer } from "../start-server.ts";
import { call, effects, newKey, refusal } from "./calls.ts";

// Rows of the table of cases in PROTOCOL.md, over HTTP: what became of the first call.

let server: StartedServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

describe("first call and retries", () => {
  it("runs the resolver once for any number of calls, and gives each the first result", async () => {
    const key = newKey();
    const answers: Answer[] = [];
    const made = await effects(server, async () => {
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
    const made = await effects(server, async () => {
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
    const made = await effects(server, async () => {
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
    const made = await effects(server, async () => {
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
