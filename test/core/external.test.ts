import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GraphQLError } from "graphql";
import type { ExternalContext } from "graphql-idempotent";
import type { Transaction } from "graphql-idempotent/sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTables } from "../create-tables.ts";
import { orders, type RequestContext, type Tables, tables } from "../orders-schema.ts";
import { type StartedServer, startServer } from "../start-server.ts";

/** A system outside of the database: it may be down, and it may honour idempotency keys of its own. */
class Gateway {
  /** The idempotency keys of the charges that were made. */
  readonly charges: string[] = [];
  /** The fencing tokens of all who asked for one. */
  readonly tokens: number[] = [];
  #gate: Promise<void> = Promise.resolve();

  /** Until released, nobody hears that a charge was made. */
  hold(): () => void {
    let release = (): void => {};
    this.#gate = new Promise((resolve) => {
      release = resolve;
    });
    return release;
  }

  async charge(card: string, key: string, token: number): Promise<{ readonly id: string }> {
    if (card === "declined") throw new GraphQLError("Declined", { extensions: { code: "CARD_DECLINED" } });
    this.tokens.push(token);
    if (!this.charges.includes(key)) this.charges.push(key);
    await this.#gate;
    return { id: `ch_${this.charges.indexOf(key) + 1}` };
  }
}

const typeDefs = /* GraphQL */ `
  type Query {
    ready: Boolean
  }
  type Payment {
    id: ID!
    order: Int!
  }
  type Mutation {
    pay(card: String!, idempotencyKey: ID!): Payment @idempotent(effects: EXTERNAL)
    payOrReject(card: String!, idempotencyKey: ID!): Payment @idempotent(effects: EXTERNAL, concurrent: REJECT)
    payForGood(card: String!, idempotencyKey: ID!): Payment @idempotent(effects: EXTERNAL, errors: REPLAY)
  }
`;

type Context = RequestContext & ExternalContext<Transaction<Tables>>;

let directory: string;
let gateway: Gateway;
let here: StartedServer;
let there: StartedServer;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "graphql-idempotent-external-"));
  await createTables(join(directory, "orders.db"), tables);
  gateway = new Gateway();
  here = await start();
  there = await start();
});

afterEach(async () => {
  await here[Symbol.asyncDispose]();
  await there[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true });
});

function start(): Promise<StartedServer> {
  async function pay(_root: unknown, { card }: { card: string }, { idempotency, customer }: Context) {
    const { downstreamKey, fencingToken } = idempotency;
    const charge = await idempotency.step("charge", () => gateway.charge(card, downstreamKey, fencingToken));
    const order = await idempotency.write("order", (tx) =>
      tx.insert(orders).values({ customer: customer.id, item: charge.id, quantity: 1 }).returning().get(),
    );
    return { ...charge, order: order.id };
  }
  const resolvers = () => ({ Mutation: { pay, payOrReject: pay, payForGood: pay } });
  return startServer({ directory, typeDefs, resolvers, idempotency: { leaseMs: 1_000, waitMs: 2_000 } });
}

function pay(key: string, card = "visa", field = "pay"): string {
  return `mutation { payment: ${field}(card: "${card}", idempotencyKey: "${key}") { id order } }`;
}

/** Until the first run has charged the card, and doesn't know it yet. */
async function charged(): Promise<void> {
  while (gateway.charges.length === 0) await new Promise((resolve) => setImmediate(resolve));
}

describe("a call to another system", () => {
  it("is made once, and every retry gets its result from any server", async () => {
    const first = await here.ask(pay("1"));
    const retry = await there.ask(pay("1"));
    expect(first.body.data).toEqual({ payment: { id: "ch_1", order: 1 } });
    expect(retry.body.data).toEqual(first.body.data);
    expect(retry.headers.get("idempotent-replayed")).toBe("true");
    expect(gateway.charges).toHaveLength(1);
    expect(await here.countOrders()).toBe(1);
  });

  it("whose lease ran out is taken over under a higher fencing token, and the late finish of the first is refused", async () => {
    const release = gateway.hold();
    const first = here.ask(pay("1"));
    await charged();
    there.clock.now += 1_000; // the first server is as good as dead: the lease that it wrote is over
    gateway.hold()();
    const second = await there.ask(pay("1"));
    release();
    expect(second.body.data).toEqual({ payment: { id: "ch_1", order: 1 } });
    const late = await first;
    expect(late.status).toBe(409);
    expect(late.headers.get("retry-after")).toBe("1");
    expect(late.body.errors[0].extensions).toEqual({
      code: "IDEMPOTENCY_CONCURRENT_REQUEST",
      idempotency: { key: "1", retryable: true, safeToUseNewKey: false },
    });
    expect((await here.ask(pay("1"))).body.data).toEqual(second.body.data);
    expect(await here.countOrders()).toBe(1);
    const [token, higherToken] = gateway.tokens;
    expect(higherToken).toBeGreaterThan(token ?? 0);
    expect(gateway.charges).toHaveLength(1); // both runs had the same downstream key
  });

  it("is rejected to a duplicate on another server while it runs, and replayed when it has ended", async () => {
    const release = gateway.hold();
    const first = here.ask(pay("1", "visa", "payOrReject"));
    await charged();
    const duplicate = await there.ask(pay("1", "visa", "payOrReject"));
    expect(duplicate.status).toBe(409);
    release();
    const { body } = await first;
    expect((await there.ask(pay("1", "visa", "payOrReject"))).body.data).toEqual(body.data);
  });

  it("that failed runs again on a retry, and its error calls no new key safe", async () => {
    const declined = await here.ask(pay("1", "declined"));
    expect(declined.body.errors[0].extensions).toEqual({
      code: "CARD_DECLINED",
      idempotency: { key: "1", retryable: true, safeToUseNewKey: false },
    });
    const again = await there.ask(pay("1", "declined"));
    expect(again.body).toEqual(declined.body);
    expect(again.headers.get("idempotent-replayed")).toBeNull();
  });

  it("whose error is its result fails the same way on every retry, without being made again", async () => {
    const declined = await here.ask(pay("1", "declined", "payForGood"));
    const retry = await there.ask(pay("1", "declined", "payForGood"));
    expect(declined.body.errors[0].extensions.code).toBe("CARD_DECLINED");
    expect(retry.body.errors).toEqual(declined.body.errors);
    expect(retry.headers.get("idempotent-replayed")).toBe("true");
  });
});
