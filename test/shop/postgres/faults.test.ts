import { randomUUID } from "node:crypto";
import pg from "pg";
import { expect, inject, it } from "vitest";
import { openCuttingProxy } from "../../stores/postgres/cutting-proxy.ts";
import { createOrder, jug, stockOf } from "../create-order.ts";
import { newDatabase } from "../new-database.ts";
import { startShop } from "../start-shop.ts";

const endAll =
  "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'shop'";

it("opens while another server is in the middle of a call, without waiting for it", async () => {
  await using shop = await startShop();
  const { id } = (await shop.ask("{ viewer { id } }")).body.data.viewer;
  const other = new pg.Client({ connectionString: shop.database.url });
  await other.connect();
  await other.query(`BEGIN; UPDATE products SET stock = stock - 1; UPDATE accounts SET balance = balance - 1
    WHERE balance > 0; SELECT 1 FROM customers WHERE id = '${id}' FOR KEY SHARE`);
  await using next = await startShop({ database: shop.database });
  expect((await next.ask("{ viewer { id } }")).body.data.viewer.id).toBe(id);
  await other.query("ROLLBACK");
  await other.end();
});

it("goes on when the server has ended all its connections", async () => {
  await using shop = await startShop();
  await Promise.all(Array.from({ length: 10 }, () => shop.ask(createOrder(randomUUID()))));
  expect((await shop.query(endAll)).length).toBeGreaterThan(0);
  await expect.poll(shop.output).toContain("A connection to the database was lost: ");
  const { body } = await shop.ask(createOrder(randomUUID()));
  expect(body.errors).toBeUndefined();
});

it("answers 503 to a call whose connection is lost while it runs, and its retry takes effect once", async () => {
  await using shop = await startShop();
  const before = await stockOf(shop, jug);
  const operation = createOrder(randomUUID());
  const unlock = await shop.database.lock();
  const running = shop.ask(operation);
  const waiting =
    "SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'shop' AND wait_event_type = 'Lock'";
  await expect.poll(() => shop.query(waiting), { timeout: 20_000 }).toHaveLength(1);
  await shop.query(endAll);
  const refused = await running;
  await unlock();
  expect(refused.status).toBe(503);
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(refused.body.errors[0].extensions.code).toBe("IDEMPOTENCY_STORE_UNAVAILABLE");
  expect((await shop.ask(operation)).body.extensions.idempotency[0].replayed).toBe(false);
  expect((await shop.ask(operation)).body.extensions.idempotency[0].replayed).toBe(true);
  expect(await stockOf(shop, jug)).toBe(before - 2);
});

it("answers 503 while the server can't be reached, shows nothing of what it was sent, and works again afterwards", async () => {
  const server = new URL(inject("postgresUrl"));
  await using proxy = await openCuttingProxy(Number(server.port));
  await using database = await newDatabase();
  const url = Object.assign(new URL(database.url), { port: String(proxy.port) });
  await using shop = await startShop({ database, environment: { DATABASE_URL: url.href } });
  const key = randomUUID();
  const operation = createOrder(key, { note: "a note that nobody else should read" });
  const healthz = () => fetch(new URL("/healthz", shop.url));
  expect((await healthz()).status).toBe(200);

  proxy.isDown = true;
  const refused = await shop.ask(operation);
  expect(refused.status).toBe(503);
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(refused.body).toEqual({
    errors: [
      {
        message: "The database can't be used right now. Retry with the same key.",
        extensions: {
          code: "IDEMPOTENCY_STORE_UNAVAILABLE",
          idempotency: { key: null, retryable: true, safeToUseNewKey: false },
        },
      },
    ],
  });
  const unwell = await healthz();
  expect(unwell.status).toBe(503);
  expect(await unwell.json()).toEqual({ status: "unavailable" });
  expect(shop.output()).not.toMatch(new RegExp(`${key}|a note|password`));

  proxy.isDown = false;
  expect((await shop.ask(operation)).body.extensions.idempotency[0].replayed).toBe(false);
  expect((await healthz()).status).toBe(200);
});

it("lets transfers in opposite directions wait for each other's rows in one order, and so never deadlock", async () => {
  await using shop = await startShop();
  const [alices, bobs] = ["01990000-0000-7000-8000-000000000011", "01990000-0000-7000-8000-000000000021"];
  const transfer = (fromAccountId: string, toAccountId: string) => ({
    query: "mutation ($input: TransferFundsInput!) { transferFunds(input: $input) { id } }",
    variables: { input: { idempotencyKey: randomUUID(), fromAccountId, toAccountId, amount: 1 } },
  });
  const asBob = { authorization: "Bearer bob-token" };
  await Promise.all(
    Array.from({ length: 200 }, (_, index) =>
      index % 2 === 0 ? shop.ask(transfer(alices, bobs)) : shop.ask(transfer(bobs, alices), asBob),
    ),
  );
  await shop.stop(); // sessions that end have told the statistics all that they know
  const deadlocks =
    "SELECT CAST(deadlocks AS integer) AS deadlocks FROM pg_stat_database WHERE datname = current_database()";
  expect(await shop.query("SELECT id FROM transfers")).toHaveLength(200);
  expect(await shop.query(deadlocks)).toEqual([{ deadlocks: 0 }]);
});
