import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const run = promisify(execFile);

// They import the package by its name, as it was built.
async function outputOf(example: string): Promise<string[]> {
  const file = fileURLToPath(new URL(`../examples/${example}`, import.meta.url));
  const { stdout, stderr } = await run(process.execPath, [file]);
  expect(stderr).toBe("");
  return stdout.trimEnd().split("\n");
}

it("a queue consumer books a message once, although it is delivered twice", async () => {
  expect(await outputOf("queue-consumer.mjs")).toEqual([
    "message-1: booked, credits were 500 then",
    "message-1: had been booked, credits were 500 then",
    "message-2: booked, credits were 530 then",
    "message-2: had been booked, credits were 530 then",
    "alice has 530 credits",
  ]);
});

it("a configuration that is applied again changes nothing, and another content under its version is refused", async () => {
  expect(await outputOf("apply-configuration.mjs")).toEqual([
    "2026-01: applied",
    "2026-01: was applied before",
    "2026-02: applied",
    "2026-01: IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
    "alice has 110 credits",
    "bob has 50 credits",
  ]);
});
