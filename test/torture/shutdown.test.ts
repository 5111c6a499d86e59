import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Sqlite from "better-sqlite3";
import { afterAll, expect, it, vi } from "vitest";
import { Load, shopTarget } from "./kill.ts";
import { seeded } from "./random.ts";
import { examineShop } from "./shop/books.ts";
import { order, retryUntilAnswered, send } from "./shop/client.ts";
import { killLeftovers, startShopProcess } from "./shop/shop-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

// It starts processes, or works hard, also on machines that are busy with other things.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });
afterAll(killLeftovers);

it("SIGTERM under load ends the server with exit code 0, and the next one answers every retry", async () => {
  const databaseFile = join(temporaryFolder(), "shop.db");
  const first = await startShopProcess({ databaseFile });
  const load = new Load(shopTarget, seeded(1));
  load.aimAt(first.url, 16);
  await load.answersComeIn(40);
  first.signal("SIGTERM");
  expect(await first.ended).toEqual({ code: 0, signal: null });
  expect(first.log()).not.toMatch(/error/i);

  const second = await startShopProcess({ databaseFile });
  load.aimAt(second.url, 16);
  await load.answersComeIn(40);
  const { sent, answers } = await load.finish();
  second.signal("SIGTERM");
  await second.ended;
  expect(examineShop(databaseFile, sent, answers)).toEqual([]);
});

it("a deploy, the old process ending while the new one serves the same file, fails no retried call", async () => {
  const databaseFile = join(temporaryFolder(), "shop.db");
  const old = await startShopProcess({ databaseFile });
  const load = new Load(shopTarget, seeded(2));
  load.aimAt(old.url, 16);
  await load.answersComeIn(40);
  const next = await startShopProcess({ databaseFile });
  load.aimAt(next.url, 16);
  old.signal("SIGTERM");
  expect(await old.ended).toEqual({ code: 0, signal: null });
  await load.answersComeIn(40);
  const { sent, answers } = await load.finish();
  next.signal("SIGTERM");
  await next.ended;
  expect(examineShop(databaseFile, sent, answers)).toEqual([]);
});

it("a call that waits when SIGTERM comes is answered, and new connections are refused", async () => {
  const databaseFile = join(temporaryFolder(), "shop.db");
  const shop = await startShopProcess({ databaseFile });
  const other = new Sqlite(databaseFile);
  other.exec("BEGIN IMMEDIATE");
  const waiting = retryUntilAnswered(order("waiting", 1), { url: () => shop.url });
  await sleep(300);
  shop.signal("SIGTERM");
  await sleep(300);
  await expect(send(order("new", 1), shop.url, "alice-token")).rejects.toThrow("fetch failed");
  other.exec("COMMIT");
  other.close();
  const answer = await waiting;
  expect(answer?.key).toBe("waiting");
  expect(await shop.ended).toEqual({ code: 0, signal: null });
  expect(examineShop(databaseFile, ["waiting"], answer ? [answer] : [])).toEqual([]);
});
