import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { asBob, type StartedShop, startShop } from "./start-shop.ts";

let shop: StartedShop;
beforeAll(async () => {
  shop = await startShop();
});
afterAll(() => shop[Symbol.asyncDispose]());

const alices = "01990000-0000-7000-8000-000000000011";
const alicesOther = "01990000-0000-7000-8000-000000000012";
const bobs = "01990000-0000-7000-8000-000000000021";

async function balanceOf(accountId: string): Promise<number> {
  const [row] = await shop.query(
    `SELECT CAST(balance AS integer) AS balance FROM accounts WHERE id = '${accountId}'`,
  );
  return row?.balance;
}

function balancesOf(...accountIds: string[]): Promise<number[]> {
  return Promise.all(accountIds.map(balanceOf));
}

function transferFunds(input: object): object {
  return {
    query: `mutation ($input: TransferFundsInput!) {
      transferFunds(input: $input) {
        id amount { amount currency } from { id balance { amount } } to { id balance { amount } } createdAt
      }
    }`,
    variables: {
      input: {
        idempotencyKey: randomUUID(),
        fromAccountId: alices,
        toAccountId: alicesOther,
        amount: 1_000,
        ...input,
      },
    },
  };
}

it("moves money once, however often the call is retried", async () => {
  const [own = 0, other = 0] = await balancesOf(alices, alicesOther);
  const operation = transferFunds({});
  const first = await shop.ask(operation);
  const retry = await shop.ask(operation);
  expect(first.body.data.transferFunds).toEqual({
    id: expect.any(String),
    amount: { amount: 1_000, currency: "EUR" },
    from: { id: alices, balance: { amount: own - 1_000 } },
    to: { id: alicesOther, balance: { amount: other + 1_000 } },
    createdAt: expect.any(String),
  });
  expect(retry.body.data).toEqual(first.body.data);
  expect(retry.body.extensions.idempotency[0].replayed).toBe(true);
  expect(await balancesOf(alices, alicesOther)).toEqual([own - 1_000, other + 1_000]);
});

it("moves money to another customer, whose balance it doesn't tell", async () => {
  const before = await balanceOf(bobs);
  const { body } = await shop.ask(transferFunds({ toAccountId: bobs }));
  expect(body.errors).toBeUndefined();
  expect(body.data.transferFunds.to).toEqual({ id: bobs, balance: null });
  expect(await balanceOf(bobs)).toBe(before + 1_000);
});

it("never lets concurrent transfers overdraw an account, and loses no money", async () => {
  const [own = 0, others = 0] = await balancesOf(alicesOther, bobs);
  const amount = 1_500;
  const answers = await Promise.all(
    Array.from({ length: 40 }, () =>
      shop.ask(transferFunds({ fromAccountId: alicesOther, toAccountId: bobs, amount })),
    ),
  );
  const moved = answers.filter(({ body }) => body.data).length;
  const refused = answers.filter(({ body }) => body.errors?.[0].extensions.code === "INSUFFICIENT_FUNDS");
  expect(moved).toBe(Math.floor(own / amount));
  expect(refused).toHaveLength(40 - moved);
  expect(await balancesOf(alicesOther, bobs)).toEqual([own - moved * amount, others + moved * amount]);
});

it("lets transfers in opposite directions pass each other, and loses no money", async () => {
  const before = await balancesOf(alices, bobs);
  const forth = { fromAccountId: alices, toAccountId: bobs, amount: 7 };
  const back = { fromAccountId: bobs, toAccountId: alices, amount: 7 };
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, index) =>
      index % 2 === 0 ? shop.ask(transferFunds(forth)) : shop.ask(transferFunds(back), asBob),
    ),
  );
  for (const { body } of answers) expect(body.errors).toBeUndefined();
  expect(await balancesOf(alices, bobs)).toEqual(before);
});

it("keeps nothing of a transfer without funds: its retry succeeds when there are some", async () => {
  const operation = transferFunds({
    fromAccountId: alicesOther,
    toAccountId: alices,
    amount: (await balanceOf(alicesOther)) + 1,
  });
  const refused = await shop.ask(operation);
  expect(refused.body.errors[0].extensions).toMatchObject({
    code: "INSUFFICIENT_FUNDS",
    idempotency: { retryable: true },
  });
  await shop.ask(transferFunds({ amount: 1 }));
  const retry = await shop.ask(operation);
  expect(retry.body.errors).toBeUndefined();
  expect(await balanceOf(alicesOther)).toBe(0);
});

it.each([
  ["an amount of 0", { amount: 0 }, "BAD_USER_INPUT"],
  ["a negative amount, which would take money", { amount: -5 }, "BAD_USER_INPUT"],
  ["one account for both ends", { toAccountId: alices }, "BAD_USER_INPUT"],
  ["an account that isn't there", { toAccountId: "nowhere" }, "NOT_FOUND"],
  ["money from another customer's account", { fromAccountId: bobs }, "NOT_FOUND"],
])("refuses %s, and moves nothing", async (_case, input, code) => {
  const before = await balancesOf(alices, alicesOther, bobs);
  const { body } = await shop.ask(transferFunds(input));
  expect(body.data).toBeNull();
  expect(body.errors[0].extensions.code).toBe(code);
  expect(await balancesOf(alices, alicesOther, bobs)).toEqual(before);
});

it("refuses a transfer between two currencies", async () => {
  await shop.query(
    "INSERT INTO accounts VALUES ('dollars', '01990000-0000-7000-8000-000000000002', 0, 'USD')",
  );
  const { body } = await shop.ask(transferFunds({ toAccountId: "dollars" }));
  expect(body.errors[0]).toMatchObject({
    message: expect.stringContaining("one has EUR and the other USD"),
    extensions: { code: "BAD_USER_INPUT" },
  });
});

it("shows an account to its owner and to nobody else", async () => {
  const account = `{ account(id: "${bobs}") { id balance { amount currency } } }`;
  const { body: own } = await shop.ask(account, asBob);
  expect(own.data.account).toEqual({ id: bobs, balance: { amount: await balanceOf(bobs), currency: "EUR" } });
  const { body: foreign } = await shop.ask(account);
  expect(foreign).toMatchObject({ data: { account: null }, errors: [{ extensions: { code: "NOT_FOUND" } }] });
});
