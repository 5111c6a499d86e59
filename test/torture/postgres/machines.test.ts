import { afterAll, expect, it, vi } from "vitest";
import { newDatabase } from "../../shop/new-database.ts";
import { killLeftovers } from "../shop/shop-process.ts";
import { killMachines } from "./machines.ts";

// It starts processes, also on machines that are busy with other things.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });
afterAll(killLeftovers);

it("three servers, each killed at any time, make no duplicate together, lose no answer and leave no key stuck", async () => {
  await using database = await newDatabase();
  const report = await killMachines({ databaseUrl: database.url, kills: 6, seed: 1 });
  expect(report.findings).toEqual([]);
  expect(report).toMatchObject({ kills: 6, stops: 1 });
  expect(report.answers).toBeGreaterThan(50);
});

it("the same kills are seen to make duplicates when the database forgets its records", async () => {
  await using database = await newDatabase();
  const { findings } = await killMachines({
    databaseUrl: database.url,
    kills: 2,
    seed: 1,
    onKill: () => database.query("DELETE FROM idempotency_records"),
  });
  const checks = findings.map(({ check }) => check);
  expect(checks).toContain("duplicate");
  expect(checks).toContain("differing replay");
});
