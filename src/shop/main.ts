import { randomUUID } from "node:crypto";
import { readConfiguration } from "./configuration.ts";
import { ignoreLogErrors } from "./log-errors.ts";
import { demoCustomers, demoProduct } from "./seed.ts";
import { type Shop, startShop } from "./server.ts";

ignoreLogErrors();
try {
  const configuration = readConfiguration(process.env);
  const opening = startShop(configuration);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => close(opening));
  console.log(welcome(await opening, configuration.hasDemoTokens));
} catch (error) {
  fail(error);
}

/** After everything is closed, no work is left, and the process ends by itself with exit code 0. */
async function close(opening: Promise<Shop>): Promise<void> {
  try {
    await (await opening).close();
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  console.error(message.replaceAll(/\s*\n\s*/g, " "));
  process.exitCode = 1;
}

function welcome({ url, location }: Shop, hasDemoTokens: boolean): string {
  const lines = [`The shop is open: ${url}`, `Database: ${location}`];
  if (!hasDemoTokens) return lines.join("\n");
  const [alice] = demoCustomers;
  const query = `mutation { createOrder(input: {productId: \\"${demoProduct.id}\\", quantity: 1}) { id product { name stock } } }`;
  lines.push(
    `Demo tokens: ${demoCustomers.map(({ name, token }) => `${token} (${name})`).join(", ")}`,
    "",
    "Open the address in a browser, or paste this, and paste it again: the retry gets the same order.",
    "",
    `curl ${url} -H 'Content-Type: application/json' -H 'Authorization: Bearer ${alice.token}' -H 'Idempotency-Key: ${randomUUID()}' -d '{"query":"${query}"}'`,
  );
  return lines.join("\n");
}
