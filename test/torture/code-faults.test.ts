import { join } from "node:path";
import { sql } from "drizzle-orm";
import { IdempotencyError, once, SHARED } from "graphql-idempotent";
import type { Transaction } from "graphql-idempotent/sqlite";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { type Bank, type BankOptions, openBank, type Payment } from "./bank/bank.ts";
import * as tables from "./bank/tables.ts";
import { differingReplays } from "./checks.ts";
import { examineShop } from "./shop/books.ts";
import { order, retryUntilAnswered } from "./shop/client.ts";
import { killLeftovers, startShopProcess } from "./shop/shop-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

afterAll(killLeftovers);

type Tx = Transaction<typeof tables>;

async function openTestBank(options: BankOptions = {}): Promise<Bank> {
  const bank = await openBank(join(temporaryFolder(), "bank.db"), options);
  onTestFinished(() => bank.close());
  return bank;
}

function run(bank: Bank, key: string, work: (tx: Tx) => unknown): Promise<unknown> {
  return once(bank.store, { scope: SHARED, field: "bank.run", key }, work).then(({ result }) => result);
}

function write(tx: Tx, key: string): { key: string } {
  tx.insert(tables.transfers).values({ key, from: "savings", to: "shopping", amount: 0, memo: "" }).run();
  return { key };
}

function keysWritten(bank: Bank): string[] {
  return bank.db
    .select({ key: tables.transfers.key })
    .from(tables.transfers)
    .orderBy(tables.transfers.id)
    .all()
    .map(({ key }) => key);
}

const payment = (key: string): Payment => ({ key, amount: 1, memo: "", retention: "24h", course: "made" });
const codeOf = (error: unknown) => (error instanceof IdempotencyError ? error.code : error);

describe("a resolver", () => {
  it("that never ends is rolled back at its deadline, and others go on", async () => {
    const bank = await openTestBank({ deadlineMs: 100 });
    const endless = run(bank, "endless", (tx) => {
      write(tx, "endless");
      return new Promise(() => {});
    });
    const neighbour = bank.pay(payment("neighbour"));
    await expect(endless).rejects.toMatchObject({ code: "IDEMPOTENCY_DEADLINE_EXCEEDED" });
    await neighbour;
    expect(keysWritten(bank)).toEqual(["neighbour"]);
    await run(bank, "endless", (tx) => write(tx, "endless"));
    expect(keysWritten(bank)).toEqual(["neighbour", "endless"]);
  });

  it("that throws after writing has written nothing, and its retry runs", async () => {
    const bank = await openTestBank();
    const failing = run(bank, "a", async (tx) => {
      write(tx, "a");
      await Promise.resolve();
      throw new Error("after writing");
    });
    await expect(failing).rejects.toThrow("after writing");
    expect(keysWritten(bank)).toEqual([]);
    await run(bank, "a", (tx) => write(tx, "a"));
    expect(keysWritten(bank)).toEqual(["a"]);
  });

  it("that keeps its tx can write with it no more, neither alone nor into another call", async () => {
    const bank = await openTestBank();
    let kept: Tx | undefined;
    await run(bank, "a", (tx) => {
      kept = tx;
      return write(tx, "a");
    });
    expect(() => kept && write(kept, "late")).toThrow("This transaction is over");
    await run(bank, "b", async (tx) => {
      write(tx, "b");
      expect(() => kept && write(kept, "late")).toThrow("This transaction is over");
      expect(() => kept?.transaction((nested) => write(nested, "late"))).toThrow("This transaction is over");
    });
    expect(keysWritten(bank)).toEqual(["a", "b"]);
  });

  it("that goes on after its deadline can write no more", async () => {
    const bank = await openTestBank({ deadlineMs: 50 });
    let goOn = () => {};
    let late: Promise<unknown> = Promise.resolve();
    const slow = run(bank, "slow", (tx) => {
      late = new Promise<void>((resolve) => {
        goOn = resolve;
      }).then(() => write(tx, "slow"));
      return late;
    });
    await expect(slow).rejects.toMatchObject({ code: "IDEMPOTENCY_DEADLINE_EXCEEDED" });
    const other = run(bank, "other", async (tx) => {
      write(tx, "other");
      goOn();
      await expect(late).rejects.toThrow("This transaction is over");
    });
    await other;
    expect(keysWritten(bank)).toEqual(["other"]);
  });

  it.each([
    "COMMIT",
    "commit transaction",
    "END",
    "ROLLBACK",
    "BEGIN",
    "SAVEPOINT mine",
    "RELEASE idempotent_call",
    "ROLLBACK TO idempotent_call",
    " ; /* a */ -- b\n COMMIT",
    "\uFEFFCOMMIT",
    "PRAGMA synchronous = OFF",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA foreign_keys = OFF",
    "VACUUM",
  ])("that runs %j ends no transaction: its effect and its record stay together", async (statement) => {
    const bank = await openTestBank();
    const neighbours = [bank.pay(payment("before"))];
    const hostile = run(bank, "hostile", (tx) => {
      write(tx, "hostile");
      tx.run(sql.raw(statement));
      throw new Error("and then it fails");
    });
    neighbours.push(bank.pay(payment("after")));
    await expect(hostile).rejects.toThrow();
    await Promise.all(neighbours);
    expect(keysWritten(bank)).toEqual(["before", "after"]);
    expect(bank.db.get(sql`PRAGMA synchronous`)).toEqual({ synchronous: 2 });
    await run(bank, "hostile", (tx) => write(tx, "hostile"));
    expect(keysWritten(bank)).toEqual(["before", "after", "hostile"]);
  });

  it.each([
    ["INSERT OR ROLLBACK", "INSERT OR ROLLBACK INTO accounts VALUES ('savings', 1)"],
    ["a trigger with RAISE(ROLLBACK)", "INSERT INTO trap VALUES (1)"],
  ])("whose %s rolls back everything takes nobody's answer along", async (_name, statement) => {
    const bank = await openTestBank({
      configure: (connection) => {
        if (connection.readonly) return;
        connection.exec(`CREATE TABLE IF NOT EXISTS trap (a);
          CREATE TRIGGER IF NOT EXISTS spring BEFORE INSERT ON trap BEGIN SELECT RAISE(ROLLBACK, 'sprung'); END`);
      },
    });
    const before = bank.pay(payment("before")).catch(codeOf);
    const hostile = run(bank, "hostile", (tx) => {
      write(tx, "hostile");
      try {
        tx.run(sql.raw(statement));
      } catch {
        // It goes on as if nothing had happened.
      }
      return write(tx, "hostile again");
    });
    await expect(hostile).rejects.toThrow();
    await before;
    expect(keysWritten(bank)).not.toContain("hostile");
    expect(keysWritten(bank)).not.toContain("hostile again");
    await bank.pay(payment("before"));
    expect(keysWritten(bank)).toEqual(["before"]);
  });

  it.each<[string, () => unknown]>([
    ["a function", () => () => {}],
    ["a promise within an object", () => ({ nested: Promise.resolve() })],
    [
      "a cycle",
      () => {
        const cycle: { self?: unknown } = {};
        cycle.self = cycle;
        return cycle;
      },
    ],
    ["an instance of a class", () => new (class Money {})()],
    ["more than the limit", () => "x".repeat(1_048_577)],
  ])("that returns %s has written nothing", async (_name, result) => {
    const bank = await openTestBank();
    const unstorable = run(bank, "a", (tx) => {
      write(tx, "a");
      return result();
    });
    await expect(unstorable).rejects.toMatchObject({ code: "IDEMPOTENCY_RESULT_UNSTORABLE" });
    expect(keysWritten(bank)).toEqual([]);
    await run(bank, "a", (tx) => write(tx, "a"));
    expect(keysWritten(bank)).toEqual(["a"]);
  });
});

describe("a clock that jumps", () => {
  it.each([
    ["back", -365 * 86_400_000],
    ["forward within the retention", 86_399_999],
  ])("%s changes no answer", async (_name, jump) => {
    let clock = Date.now();
    const bank = await openTestBank({ now: () => clock });
    const first = await bank.pay(payment("a"));
    clock += jump;
    expect(await bank.store.purge()).toBe(0);
    expect(await bank.pay(payment("a"))).toEqual(first);
  });

  it("forward past the retention and back changes no answer, when nobody came meanwhile", async () => {
    let clock = Date.now();
    const bank = await openTestBank({ now: () => clock });
    const first = await bank.pay(payment("a"));
    clock += 2 * 86_400_000;
    clock -= 2 * 86_400_000;
    expect(await bank.pay(payment("a"))).toEqual(first);
  });
});

it("100,000 calls at once are answered or refused at the queue's bound, and each key has one effect at most", async () => {
  // About a hundred callers have the same key, and ten keys are more than the queue takes. Who waited for one
  // that was refused starts over, and finds room.
  const bank = await openTestBank({ maxQueue: 1_000, waitMs: 170_000 });
  const keys = Array.from({ length: 100_000 }, (_, number) => `key-${number % 1_010}`);
  const outcomes = await Promise.allSettled(keys.map((key) => bank.pay(payment(key))));
  const answers = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  const refusals = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [codeOf(outcome.reason)] : [],
  );
  expect(differingReplays(answers)).toEqual([]);
  const answered = [...new Set(answers.map(({ key }) => key))];
  expect(answered.length).toBeGreaterThanOrEqual(1_000);
  expect(keysWritten(bank).sort()).toEqual(answered.sort());
  expect(answers.length + refusals.length).toBe(100_000);
  expect(refusals.length).toBeGreaterThanOrEqual(10);
  expect(refusals.filter((code) => code !== "IDEMPOTENCY_STORE_UNAVAILABLE")).toEqual([]);
});

it("a client that disconnects leaves its call whole or undone, and its retry finds out", async () => {
  const databaseFile = join(temporaryFolder(), "shop.db");
  const shop = await startShopProcess({ databaseFile });
  const keys = Array.from({ length: 40 }, (_, number) => `key-${number}`);
  await Promise.all(
    keys.map((key, number) => {
      const { query, variables } = order(key, 1);
      const headers = { "content-type": "application/json", authorization: "Bearer alice-token" };
      const body = JSON.stringify({ query, variables });
      const signal = AbortSignal.timeout(number + 1);
      return fetch(shop.url, { method: "POST", headers, body, signal }).catch(() => undefined);
    }),
  );
  const answers = await Promise.all(
    keys.map((key) => retryUntilAnswered(order(key, 1), { url: () => shop.url })),
  );
  shop.signal("SIGTERM");
  await shop.ended;
  expect(
    examineShop(
      databaseFile,
      keys,
      answers.flatMap((answer) => answer ?? []),
    ),
  ).toEqual([]);
});
