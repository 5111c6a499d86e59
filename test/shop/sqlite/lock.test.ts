import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { createOrder } from "../create-order.ts";
import { newFile } from "../new-database.ts";
import { startShop } from "../start-shop.ts";

it("answers 503 while another process holds the file's lock for too long, logs why, and runs the retry", async () => {
  await using database = await newFile();
  await using shop = await startShop({ database });
  const operation = createOrder(randomUUID());
  const unlock = await database.lock();
  const refused = await shop.ask(operation);
  await unlock();
  expect(refused.status).toBe(503);
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(refused.body.errors[0].extensions.code).toBe("IDEMPOTENCY_STORE_UNAVAILABLE");
  await expect.poll(shop.output).toMatch(/locked by another process.* SqliteError: database is locked/);
  const retry = await shop.ask(operation);
  expect(retry.body.extensions.idempotency[0].replayed).toBe(false);
});
