import { once } from "node:events";
import { createServer } from "node:net";
import pg from "pg";
import { describe, expect, inject, it, vi } from "vitest";
import { newDatabase } from "../new-database.ts";
import { runShop, spawnShop, startShop } from "../start-shop.ts";

// It starts processes, also on machines that are busy with other things.
vi.setConfig({ testTimeout: 120_000 });
const patience = { timeout: 60_000 };
const tables = "SELECT tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";

it("leaves nothing half done when it is killed while it makes the tables, and the next start makes them", async () => {
  await using database = await newDatabase();
  // Somebody else's table, not committed yet, makes the shop wait in the middle of its migration.
  const other = new pg.Client({ connectionString: database.url });
  await other.connect();
  await other.query("BEGIN; CREATE TABLE customers (name text)");
  const shop = spawnShop({ DATABASE_URL: database.url });
  const sessions =
    "SELECT wait_event_type FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'shop'";
  await expect.poll(() => database.query(sessions), patience).toEqual([{ wait_event_type: "Lock" }]);
  shop.process.kill("SIGKILL");
  await once(shop.process, "exit");
  await other.query("ROLLBACK");
  await other.end();
  await expect.poll(() => database.query(sessions), patience).toEqual([]);
  expect(await database.query(tables)).toEqual([]);

  await using _next = await startShop({ database });
  expect(await database.query(tables)).toHaveLength(8); // with that of the migrations
});

describe("a shop that can't open", () => {
  const server = new URL(inject("postgresUrl"));

  it.each<[string, Partial<URL>, RegExp]>([
    ["a wrong password", { pathname: "/postgres", password: "secret" }, /password authentication failed/],
    ["a user who isn't there", { pathname: "/postgres", username: "nobody" }, /failed for user "nobody"/],
    [
      "a database that isn't there",
      { pathname: "/nowhere" },
      /database "nowhere" does not exist\. Create it/,
    ],
    [
      "a server that isn't there",
      { pathname: "/shop", port: "1" },
      /no server can be reached there \(ECONNREFUSED\)/,
    ],
    [
      "a host that isn't there",
      { pathname: "/shop", hostname: "nowhere.invalid" },
      /\((ENOTFOUND|EAI_AGAIN)\)/,
    ],
    [
      "no password",
      { pathname: "/postgres", password: "" },
      /empty password.*Mend the user name or the password/,
    ],
  ])("says why in one line, without a password, and exits with 1: %s", async (_case, change, reason) => {
    const url = Object.assign(new URL(server), change);
    const exit = await runShop({ DATABASE_URL: url.href });
    expect(exit).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(/^[^\n]+\n$/) });
    expect(exit.stderr).toMatch(`The database postgresql://${url.host}${url.pathname} can't be used: `);
    expect(exit.stderr).toMatch(reason);
    expect(exit.stderr.replaceAll(/user:password@/g, "")).not.toMatch(/ at |secret|:password/);
  });

  it("says why in one line and exits with 1: a server that says nothing", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const { port } = silent.address() as { port: number }; // `as`: it listens on TCP
    const exit = await runShop({ DATABASE_URL: `postgres://shop:secret@127.0.0.1:${port}/shop` });
    silent.close();
    expect(exit).toEqual({
      code: 1,
      stdout: "",
      stderr: `The database postgres://127.0.0.1:${port}/shop can't be used: the server there does not answer in time. Try again when it does, or mend the address in DATABASE_URL.\n`,
    });
  });

  it("says why in one line and exits with 1: a database with other tables", async () => {
    await using database = await newDatabase();
    await database.query("CREATE TABLE customers (name text)");
    const exit = await runShop({ DATABASE_URL: database.url });
    expect(exit).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(
        /^The database \S+ can't be used: relation "customers" already exists\n$/,
      ),
    });
  });
});
