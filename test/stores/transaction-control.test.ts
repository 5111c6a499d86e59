import { expect, it } from "vitest";
import { transactionControl } from "../../src/stores/transaction-control.ts";

const refusalOf = transactionControl(["BEGIN", "COMMIT", String.raw`ROLLBACK(?!\s+TO)`]);

it.each(["BEGIN", "begin immediate", " ; COMMIT", "-- now\ncommit", "/* a */ -- b\n ROLLBACK", "ROLLBACK;"])(
  "refuses %j",
  (sql) => {
    expect(refusalOf(sql)).toContain(`so "${sql.trim()}" is refused`);
  },
);

it.each([
  "SELECT 1",
  "ROLLBACK TO mine",
  "BEGINNING",
  "-- COMMIT",
  "SELECT 'COMMIT'",
  "/* COMMIT */ SELECT 1",
])("lets %j run", (sql) => {
  expect(refusalOf(sql)).toBeUndefined();
});

it("shows the beginning of a long statement only", () => {
  expect(refusalOf(`COMMIT ${"x".repeat(100)}`)).toContain(`"COMMIT ${"x".repeat(33)}"`);
});
