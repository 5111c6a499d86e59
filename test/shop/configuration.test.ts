import { expect, it } from "vitest";
import { readConfiguration } from "../../src/shop/configuration.ts";

it("has a default for each variable, also for one that is set to nothing", () => {
  const defaults = { port: 4000, database: { kind: "sqlite", file: "shop.db" }, hasDemoTokens: true };
  expect(readConfiguration({})).toEqual(defaults);
  expect(readConfiguration({ PORT: "", DATABASE_URL: "", NODE_ENV: "" })).toEqual(defaults);
});

it.each([
  ["file:shop.db", "shop.db"],
  ["FILE:./data/shop.db", "./data/shop.db"],
  ["file:a%20shop.db", "a shop.db"],
  ["file:/var/lib/shop.db", "/var/lib/shop.db"],
  ["file:///var/lib/a%20shop.db", "/var/lib/a shop.db"],
])("reads the file's path from DATABASE_URL=%s", (url, file) => {
  expect(readConfiguration({ DATABASE_URL: url }).database).toEqual({ kind: "sqlite", file });
});

it.each([
  "shop.db",
  "file:",
  "file://",
  "file:shop.db?mode=ro",
  "file:shop.db#main",
  "file://host/shop.db",
  "file:%zz",
  "file::memory:",
  "mysql://localhost/shop",
])("refuses DATABASE_URL=%s in one line that has an example", (url) => {
  expect(() => readConfiguration({ DATABASE_URL: url })).toThrow(
    `DATABASE_URL must be the URL of an SQLite file, such as file:shop.db or file:///var/lib/shop.db, or of a PostgreSQL database, such as postgres://user:password@localhost:5432/shop, but it is "${url}".`,
  );
});

it.each([
  "postgres://shop:secret@localhost/shop",
  "postgresql://localhost:5433/shop?sslmode=disable",
  "Postgres://%2Fvar%2Frun%2Fpostgresql/shop",
  "postgres:///shop",
])("takes DATABASE_URL=%s for a PostgreSQL database", (url) => {
  expect(readConfiguration({ DATABASE_URL: url }).database).toEqual({ kind: "postgres", url });
});

it.each([
  "postgres:",
  "postgres://",
  "postgres://shop:secret@localhost",
  "postgres://shop:secret@localhost/",
  "postgres://shop:se/cret@localhost/shop/secret",
  "postgres://shop:secret@localhost:port/shop",
])("refuses DATABASE_URL=%s in one line that has an example, and repeats no password", (url) => {
  const read = () => readConfiguration({ DATABASE_URL: url });
  expect(read).toThrow(
    /^DATABASE_URL must be a URL that ends with the name of a PostgreSQL database, such as postgres:.*\.$/,
  );
  expect(read).not.toThrow(/secret/);
});

it("repeats no password of another database's URL", () => {
  expect(() => readConfiguration({ DATABASE_URL: "mysql://shop:secret@localhost/shop" })).toThrow(
    'but it is "mysql://…@localhost/shop".',
  );
});

it.each(["abc", "70000", "-1", "4000.5", " 4000"])("refuses PORT=%s in one line", (port) => {
  expect(() => readConfiguration({ PORT: port })).toThrow(
    `PORT must be a whole number from 0 to 65535, but it is "${port}".`,
  );
});

it("has demo tokens everywhere but in production", () => {
  expect(readConfiguration({ NODE_ENV: "production" }).hasDemoTokens).toBe(false);
  expect(readConfiguration({ NODE_ENV: "development" }).hasDemoTokens).toBe(true);
});
