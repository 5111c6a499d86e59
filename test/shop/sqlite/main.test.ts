import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newDirectory, newFile } from "../new-database.ts";
import { runShop, startShop } from "../start-shop.ts";

let directory: string;
beforeAll(() => {
  directory = newDirectory();
});
afterAll(() => rmSync(directory, { recursive: true }));

it("makes its file where a URL with an absolute path says", async () => {
  const file = join(directory, "a shop.db");
  await using _shop = await startShop({ environment: { DATABASE_URL: `file://${encodeURI(file)}` } });
  expect(existsSync(file)).toBe(true);
});

it.each(["SIGTERM", "SIGINT"] as const)("leaves one file when it has ended by %s", async (signal) => {
  await using database = await newFile();
  await using shop = await startShop({ database });
  await shop.ask(`mutation { updateAddress(address: "${signal}") { id } }`);
  expect(await shop.stop(signal)).toBe(0);
  expect(readdirSync(database.directory)).toEqual(["shop.db"]);
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
      /other\.db can't be used: the migration 0000_shop\.sql can't be applied.*table `customers` already exists/,
    ],
    ["a URL that is none", "shop.db", /DATABASE_URL must be the URL of an SQLite file/],
  ])("says why in one line and exits with 1: %s", async (_case, url, reason) => {
    writeFileSync(join(directory, "text.txt"), "This is no database, but a text. ".repeat(100));
    mkdirSync(join(directory, "directory"), { recursive: true });
    const other = new Sqlite(join(directory, "other.db"));
    other.exec("CREATE TABLE IF NOT EXISTS customers (name)");
    other.close();
    const exit = await runShop({ DATABASE_URL: url }, directory);
    expect(exit).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(/^[^\n]+\n$/) });
    expect(exit.stderr).toMatch(reason);
    expect(exit.stderr).not.toMatch(/ at /);
  });

  it("says why in one line and exits with 1: a directory without the right to write", async () => {
    const own = join(directory, "read-only");
    mkdirSync(own);
    chmodSync(own, 0o555);
    // Root may write anywhere but into /proc, where nobody may.
    const place = process.getuid?.() === 0 ? "/proc" : own;
    const exit = await runShop({ DATABASE_URL: `file:${place}/shop.db` });
    expect(exit).toEqual({
      code: 1,
      stdout: "",
      stderr: `The database file ${place}/shop.db can't be used: it can't be opened or created. Make its directory, and let this user write to it.\n`,
    });
  });
});
