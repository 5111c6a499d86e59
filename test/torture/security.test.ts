import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { once, SHARED } from "graphql-idempotent";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { openBank } from "./bank/bank.ts";
import { leaks } from "./checks.ts";
import { order, send } from "./shop/client.ts";
import { killLeftovers, type ShopProcess, startShopProcess } from "./shop/shop-process.ts";
import { temporaryFolder } from "./temporary-folder.ts";

afterAll(killLeftovers);

const folder = mkdtempSync(join(tmpdir(), "torture-security-"));
const databaseFile = join(folder, "shop.db");
let shop: ShopProcess;

beforeAll(async () => {
  shop = await startShopProcess({ databaseFile });
});

afterAll(async () => {
  shop.signal("SIGTERM");
  await shop.ended;
  rmSync(folder, { recursive: true, force: true });
});

it("two customers who send the same key have nothing of each other", async () => {
  const alice = await send(order("the-same-key", 1), shop.url, "alice-token");
  const bob = await send(order("the-same-key", 2), shop.url, "bob-token");
  expect(bob.body.data?.createOrder).toMatchObject({ quantity: 2 });
  expect(leaks(JSON.stringify(bob.body), [alice.body.data?.createOrder?.id ?? "missing"])).toEqual([]);
  expect(bob.response.headers.get("idempotent-replayed")).toBeNull();
});

it.each([
  ["no token", ""],
  ["an unknown token", "mallory-token"],
])("with %s, a stored result is not replayed", async (_name, token) => {
  const first = await send(order("stored", 1), shop.url, "alice-token");
  const { body } = await send(order("stored", 1), shop.url, token);
  expect(body.errors?.[0]?.extensions?.code).toBe("UNAUTHENTICATED");
  expect(leaks(JSON.stringify(body), [first.body.data?.createOrder?.id ?? "missing"])).toEqual([]);
});

it("the log has no key, token, payload or SQL, also when calls fail", async () => {
  const secret = order("key-of-a-secret-order", 1);
  await send(secret, shop.url, "alice-token");
  await send(order("key-of-a-secret-order", 2), shop.url, "alice-token");
  await send(
    { ...secret, variables: { ...secret.variables, key: "bad\nkey-of-a-secret-order" } },
    shop.url,
    "alice-token",
  );
  const other = new Sqlite(databaseFile);
  other.exec("ALTER TABLE orders RENAME TO gone");
  const { body } = await send(order("key-of-a-secret-order-2", 1), shop.url, "alice-token");
  expect(body.errors?.[0]?.extensions?.code).toBe("INTERNAL_SERVER_ERROR");
  other.exec("ALTER TABLE gone RENAME TO orders");
  other.exec("UPDATE idempotency_records SET payload = 'key-of-a-secret-payload'");
  other.close();
  await send(secret, shop.url, "alice-token");
  const log = shop.log().slice(shop.log().indexOf("curl"));
  expect(log).toMatch(/no such table/); // the fault itself is there to be mended
  expect(leaks(log, ["key-of-a-secret", "insert into", "select ", "params"])).toEqual([]);
  const afterGreeting = log.slice(log.indexOf("\n"));
  expect(leaks(afterGreeting, ["alice-token"])).toEqual([]);
});

describe("a stored payload that was tampered with", () => {
  it.each([
    ["json", "no JSON"],
    ["json", ""],
    ["devalue", "[[1"],
    ["devalue", '[["NoSuchType",1],2]'],
    ["devalue", '[{"__proto__":1},{"polluted":2},true]'],
    ["devalue", "17"],
    ["error", "null"],
    ["error", "[]"],
    ["error", '{"message":7}'],
    ["unknown", "{}"],
  ])("as %s %j is refused, runs nothing again, and pollutes nothing", async (format, payload) => {
    const file = join(temporaryFolder(), "bank.db");
    const bank = await openBank(file);
    onTestFinished(() => bank.close());
    let runs = 0;
    const call = () => once(bank.store, { scope: SHARED, field: "f", key: "k" }, () => ({ run: ++runs }));
    await call();
    const other = new Sqlite(file);
    other.prepare("UPDATE idempotency_records SET format = ?, payload = ?").run(format, payload);
    other.close();
    await expect(call()).rejects.toMatchObject({ code: "IDEMPOTENCY_RECORD_UNREADABLE" });
    expect(runs).toBe(1);
    expect("polluted" in {}).toBe(false);
  });

  it("with __proto__ in its JSON stays data", async () => {
    const file = join(temporaryFolder(), "bank.db");
    const bank = await openBank(file);
    onTestFinished(() => bank.close());
    const input = JSON.parse('{"__proto__":{"polluted":true}}');
    const call = (given: unknown) =>
      once(bank.store, { scope: SHARED, field: "f", key: "k", input: given }, () =>
        JSON.parse('{"__proto__":{"polluted":true}}'),
      );
    expect(Object.keys((await call(input)).result)).toEqual(["__proto__"]);
    expect(Object.keys((await call(input)).result)).toEqual(["__proto__"]);
    expect("polluted" in {}).toBe(false);
    // Another input under the key: what stands under __proto__ is compared, not taken for a prototype.
    await expect(call({})).rejects.toMatchObject({ code: "IDEMPOTENCY_KEY_PARAMETER_MISMATCH" });
  });
});

describe("the API", () => {
  it.each([
    ["a new line", "a\r\nSet-Cookie: b=c"],
    ["a NUL", "a\u0000b"],
  ])("refuses a key with %s, and puts no key into a header", async (_name, key) => {
    const { body, response } = await send(order(key, 1), shop.url, "alice-token");
    expect(body.errors?.[0]?.extensions?.code).toBe("IDEMPOTENCY_KEY_INVALID");
    expect(response.headers.get("set-cookie")).toBeNull();
    const plain = await send(order("plain-key", 1), shop.url, "alice-token");
    expect(leaks(JSON.stringify([...plain.response.headers]), ["plain-key"])).toEqual([]);
  });

  it("refuses what a page of another site could send without asking", async () => {
    const { query, variables } = order("csrf", 1);
    const body = JSON.stringify({ query, variables });
    for (const contentType of [
      "text/plain",
      "application/x-www-form-urlencoded",
      "multipart/form-data; boundary=b",
    ]) {
      const response = await fetch(shop.url, {
        method: "POST",
        headers: { "content-type": contentType, authorization: "Bearer alice-token" },
        body,
      });
      expect(response.status).toBeGreaterThanOrEqual(400);
      expect(response.status).toBeLessThan(500);
    }
    const get = await fetch(
      `${shop.url}?${new URLSearchParams({ query, variables: JSON.stringify(variables) })}`,
      {
        headers: { authorization: "Bearer alice-token", "apollo-require-preflight": "1" },
      },
    );
    expect(get.status).toBe(405);
    const orders = await send({ query: "{ orders { note } }", variables: {} }, shop.url, "alice-token");
    expect(orders.body.data?.orders).not.toContainEqual({ note: "csrf" });
    const allowed = await send(order("csrf", 1), shop.url, "alice-token");
    expect(allowed.body.data?.createOrder).toMatchObject({ note: "csrf" });
  });

  it("refuses a body above 100 kB", async () => {
    const { status } = await send(order("k".repeat(110_000), 1), shop.url, "alice-token");
    expect(status).toBe(413);
  });
});
