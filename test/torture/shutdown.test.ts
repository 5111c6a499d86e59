import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import Sqlite from "better-sqlite3";
import { afterAll, expect, it } from "vitest";
import { Load, shopTarget } from "./kill.ts";
import { seeded } from "./random.ts";
import { examineShop } from "./shop/books.ts";
import { order, send } from "./shop/client.ts";
import { killLeftovers, startShopProcess } from "./shop/shop-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

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
  const { query, variables } = order("waiting", 1);
  const waiting = await beginRequest(shop.url, JSON.stringify({ query, variables }));
  shop.signal("SIGTERM");
  while (await acceptsConnections(shop.port));
  await expect(send(order("new", 1), shop.url, "alice-token")).rejects.toThrow("fetch failed");
  other.exec("COMMIT");
  other.close();
  const { data } = JSON.parse(await waiting.answer);
  const answer = { key: "waiting", result: JSON.stringify(data.createOrder) };
  expect(await shop.ended).toEqual({ code: 0, signal: null });
  expect(examineShop(databaseFile, ["waiting"], [answer])).toEqual([]);
});

/** Fulfilled when the server has begun to read the request, which it says before the body is sent. */
async function beginRequest(url: string, body: string): Promise<{ answer: Promise<string> }> {
  const sent = request(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: "Bearer alice-token",
      expect: "100-continue",
    },
  });
  const answer = once(sent, "response").then(([response]) => text(response));
  sent.flushHeaders();
  await once(sent, "continue");
  sent.end(body);
  return { answer };
}

async function acceptsConnections(port: number): Promise<boolean> {
  const socket = connect(port, "localhost");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
