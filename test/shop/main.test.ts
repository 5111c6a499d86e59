import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import Sqlite from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newDirectory, runShop, startShop } from "./start-shop.ts";

let directory: string;
beforeAll(() => {
  directory = newDirectory();
});
afterAll(() => rmSync(directory, { recursive: true }));

describe("a shop that opens", () => {
  it("prints its address, its file, the demo tokens, and a curl line that works when it is pasted", async () => {
    await using shop = await startShop();
    expect(shop.output()).toContain(`Database: ${shop.file}\n`);
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
    const production = { NODE_ENV: "production" };
    const own = newDirectory();
    const viewer = "{ viewer { name } }";
    for (const environment of [{}, production]) {
      await using shop = await startShop({ directory: own, environment });
      const { body } = await shop.ask(viewer);
      const isProduction = environment === production;
      expect(body.errors?.[0].extensions.code).toBe(isProduction ? "UNAUTHENTICATED" : undefined);
      expect(shop.output().includes("alice-token")).toBe(!isProduction);
      const page = await fetch(shop.url, { headers: { accept: "text/html" } });
      expect((await page.text()).includes("alice-token")).toBe(!isProduction);
    }
    rmSync(own, { recursive: true });
  });

  it("makes its file where a URL with an absolute path says", async () => {
    const file = join(directory, "a shop.db");
    await using _shop = await startShop({ environment: { DATABASE_URL: `file://${encodeURI(file)}` } });
    expect(existsSync(file)).toBe(true);
  });
});

describe("a shop that is told to stop", () => {
  it.each(["SIGTERM", "SIGINT"] as const)(
    "ends by %s with exit code 0, and leaves one file",
    async (signal) => {
      const own = newDirectory();
      await using shop = await startShop({ directory: own });
      await shop.ask(`mutation { updateAddress(address: "${signal}") { id } }`);
      expect(await shop.stop(signal)).toBe(0);
      expect(readdirSync(own)).toEqual(["shop.db"]);
      rmSync(own, { recursive: true });
    },
  );

  it("finishes the calls that run, and takes no new ones", async () => {
    await using shop = await startShop();
    const other = shop.connect();
    // The lock of another process holds every call until it is released.
    other.exec("BEGIN IMMEDIATE");
    const calls = Array.from({ length: 20 }, (_, index) =>
      shop.ask(
        `mutation { createOrder(input: { productId: "01990000-0000-7000-8000-000000000105", quantity: 1 }, idempotencyKey: "key-${index}") { id } }`,
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
    other.exec("COMMIT");
    const answers = await Promise.all(calls);
    for (const { body } of answers) expect(body.data.createOrder.id).toEqual(expect.any(String));
    expect(await stopped).toBe(0);
    expect(other.prepare("SELECT count(*) FROM orders").pluck().get()).toBe(20);
  });
});

describe("a shop that can't open", () => {
  it.each([
    ["a file that is no database", "file:text.txt", /text\.txt can't be used: it is no SQLite database\./],
    ["a directory in place of a file", "file:directory", /it can't be opened or created\./],
    [
      "a directory that isn't there",
      "file:nowhere/shop.db",
      /it can't be opened or created\. Make its directory/,
    ],
    ["a file in place of a directory", "file:text.txt/shop.db", /it can't be opened or created\./],
    [
      "a database with other tables",
      "file:other.db",
      /other\.db can't be used: table `customers` already exists/,
    ],
    ["a URL that is none", "shop.db", /DATABASE_URL must be the URL of an SQLite file/],
    [
      "PostgreSQL",
      "postgres://shop:secret@localhost/shop",
      /^DATABASE_URL names a PostgreSQL database.*not support yet/,
    ],
  ])("says why in one line and exits with 1: %s", async (_case, url, reason) => {
    writeFileSync(join(directory, "text.txt"), "This is no database, but a text. ".repeat(100));
    mkdirSync(join(directory, "directory"), { recursive: true });
    const other = new Sqlite(join(directory, "other.db"));
    other.exec("CREATE TABLE IF NOT EXISTS customers (name)");
    other.close();
    const exit = await runShop(directory, { DATABASE_URL: url });
    expect(exit).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(/^[^\n]+\n$/) });
    expect(exit.stderr).toMatch(reason);
    expect(exit.stderr).not.toMatch(/ at |secret/);
  });

  it("says why in one line and exits with 1: a directory without the right to write", async () => {
    const own = join(directory, "read-only");
    mkdirSync(own);
    chmodSync(own, 0o555);
    // Root may write anywhere but into /proc, where nobody may.
    const place = process.getuid?.() === 0 ? "/proc" : own;
    const exit = await runShop(directory, { DATABASE_URL: `file:${place}/shop.db` });
    expect(exit).toEqual({
      code: 1,
      stdout: "",
      stderr: `The database file ${place}/shop.db can't be used: it can't be opened or created. Make its directory, and let this user write to it.\n`,
    });
  });

  it("says why in one line and exits with 1: a port that is none", async () => {
    const exit = await runShop(directory, { PORT: "abc" });
    expect(exit).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(/^PORT must be [^\n]+\n$/) });
  });

  it("says why in one line and exits with 1: a port that is in use", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, resolve));
    const { port } = server.address() as { port: number }; // `as`: it listens on TCP
    const exit = await runShop(directory, { PORT: String(port) });
    server.close();
    expect(exit).toEqual({
      code: 1,
      stdout: "",
      stderr: `The shop can't listen on port ${port}: another process uses it. Stop that one, or choose another port by PORT.\n`,
    });
  });
});
