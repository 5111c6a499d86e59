import type { Answer, StartedServer } from "../start-server.ts";

let lastKey = 0;

/** A key that no other test has. */
export function newKey(): string {
  return `key-${++lastKey}`;
}

/** One mutation, with its key as an argument. */
export function call(field: string, key: string, rest = 'item: "cup"'): string {
  return `mutation { ${field}(${rest}, idempotencyKey: "${key}") { id item quantity } }`;
}

/** What an answer says that refuses a call. */
export function refusal({ status, headers, body }: Answer) {
  const { message, extensions } = body.errors[0];
  return {
    status,
    retryAfter: headers.get("retry-after"),
    message,
    code: extensions.code,
    ...extensions.idempotency,
  };
}

/** Asks, and tells how many orders that made. */
export async function effects(server: StartedServer, ask: () => Promise<unknown>): Promise<number> {
  const before = await server.countOrders();
  await ask();
  return (await server.countOrders()) - before;
}
