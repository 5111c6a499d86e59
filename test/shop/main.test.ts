import { execFile } from "node:child_process";
import { createServer } from "node:net";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { file } from "./create-order.ts";
import { newDatabase } from "./new-database.ts";
import { runShop, startShop } from "./start-shop.ts";

describe("a shop that opens", () => {
  it("prints its address, its database, the demo tokens, and a curl line that works when it is pasted", async () => {
    await using shop = await startShop();
    expect(shop.output()).toContain(`Database: ${shop.database.location}\n`);
    expect(shop.output()).toContain("Demo tokens: alice-token (Alice), bob-token (Bob)\n");
    const line = /^curl .*$/m.exec(shop.output())?.[0] ?? "";
    const run = promisify(execFile);
    const answers = [await run("sh", ["-c", line]), await run("sh", ["-c", line])].map(({ stdout }) =>
      JSON.parse(stdout),
    );
    expect(answers[0].data.createOrder).toEqual({
      id: expect.any(String),
      product: { name: "Milk jug", stock: 249 },
    });
    expect(answers[1].data).toEqual(answers[0].data);
    expect(answers.map(({ extensions }) => extensions.idempotency[0].replayed)).toEqual([false, true]);
  });

  it("has no demo tokens in production, not even those of an earlier start", async () => {
    await using database = await newDatabase();
    const production = { NODE_ENV: "production" };
    const viewer = "{ viewer { name } }";
    for (const environment of [{}, production]) {
      await using shop = await startShop({ database, environment });
      const { body } = await shop.ask(viewer);
      const isProduction = environment === production;
      expect(body.errors?.[0].extensions.code).toBe(isProduction ? "UNAUTHENTICATED" : undefined);
      expect(shop.output().includes("alice-token")).toBe(!isProduction);
      const page = await fetch(shop.url, { headers: { accept: "text/html" } });
      expect((await page.text()).includes("alice-token")).toBe(!isProduction);
    }
  });

  it("shares a new database with others that open at the same moment, and it is seeded once", async () => {
    await using database = await newDatabase();
    const shops = await Promise.all(Array.from({ length: 4 }, () => startShop({ database })));
    try {
      for (const { ask } of shops) {
        const { body } = await ask("{ viewer { accounts { balance { amount } } } products { stock } }");
        expect(body.data.viewer.accounts).toEqual([
          { balance: { amount: 500_000 } },
          { balance: { amount: 20_000 } },
        ]);
        expect(body.data.products).toHaveLength(5);
      }
    } finally {
      expect(await Promise.all(shops.map((shop) => shop.stop()))).toEqual([0, 0, 0, 0]);
    }
  });
});

describe("a shop that is told to stop", () => {
  it.each(["SIGTERM", "SIGINT"] as const)("ends by %s with exit code 0", async (signal) => {
    await using shop = await startShop();
    await shop.ask(`mutation { updateAddress(address: "${signal}") { id } }`);
    expect(await shop.stop(signal)).toBe(0);
  });

  it("finishes the calls that run, and takes no new ones", async () => {
    await using shop = await startShop();
    const unlock = await shop.database.lock();
    const calls = Array.from({ length: 10 }, (_, index) =>
      shop.ask(
        `mutation { createOrder(input: { productId: "${file}", quantity: 1 }, idempotencyKey: "key-${index}") { id } }`,
      ),
    );
    const isOpen = () =>
      fetch(new URL("/healthz", shop.url)).then(
        ({ ok }) => ok,
        () => false,
      );
    for (let count = 0; count < 5; count++) expect(await isOpen()).toBe(true); // what was sent before has arrived
    const stopped = shop.stop();
    while (await isOpen());
    await unlock();
    const answers = await Promise.all(calls);
    for (const { body } of answers) expect(body.data.createOrder.id).toEqual(expect.any(String));
    expect(await stopped).toBe(0);
    expect(await shop.query("SELECT id FROM orders")).toHaveLength(10);
  });
});

describe("a shop that can't open", () => {
  it("says why in one line and exits with 1: a port that is none", async () => {
    const exit = await runShop({ PORT: "abc" });
    expect(exit).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(/^PORT must be [^\n]+\n$/) });
  });

  it("says why in one line and exits with 1: a port that is in use", async () => {
    await using database = await newDatabase();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, resolve));
    const { port } = server.address() as { port: number }; // `as`: it listens on TCP
    const exit = await runShop({ PORT: String(port), DATABASE_URL: database.url });
    server.close();
    expect(exit).toEqual({
      code: 1,
      stdout: "",
      stderr: `The shop can't listen on port ${port}: another process uses it. Stop that one, or choose another port by PORT.\n`,
    });
  });
});
