import { setTimeout as sleep } from "node:timers/promises";
import type { Answer } from "../checks.ts";
import type { Random } from "../random.ts";

/** A mutation of the shop with its key, that can be sent again and again. */
export interface Call {
  readonly key: string;
  readonly field: "createOrder" | "transferFunds";
  readonly query: string;
  readonly variables: Readonly<Record<string, unknown>>;
}

export interface ClientOptions {
  /** Where the server is now; it may have moved since the last try. */
  readonly url: () => string;
  readonly token?: string;
  /** How long a key is retried before it counts as stuck, in milliseconds. @default 60_000 */
  readonly patienceMs?: number;
  /** Gets every answer with its HTTP status, also those that make the client try again. */
  readonly onResponse?: (status: number, body: Body) => void;
}

export interface Body {
  readonly data?: Readonly<Record<string, { readonly id: string }>> | null;
  readonly errors?: readonly {
    readonly message: string;
    readonly extensions?: Readonly<Record<string, unknown>>;
  }[];
}

/** The seeded product whose stock is practically endless, and two accounts of one customer. */
export const product = "01990000-0000-7000-8000-000000000105";
const accounts = ["01990000-0000-7000-8000-000000000011", "01990000-0000-7000-8000-000000000012"] as const;

/** Its note is its key, so that the row itself tells whose effect it is. */
export function order(key: string, quantity: number): Call {
  return {
    key,
    field: "createOrder",
    // What replays must repeat; a product's stock moves on, and so is not asked for.
    query: `mutation ($input: CreateOrderInput!, $key: ID!) {
      createOrder(input: $input, idempotencyKey: $key) { id quantity note total { amount } createdAt }
    }`,
    variables: { key, input: { productId: product, quantity, note: key } },
  };
}

export function transfer(key: string, amount: number): Call {
  const [fromAccountId, toAccountId] = amount % 2 === 0 ? accounts : accounts.toReversed();
  return {
    key,
    field: "transferFunds",
    query:
      "mutation ($input: TransferFundsInput!) { transferFunds(input: $input) { id amount { amount } createdAt } }",
    variables: { input: { idempotencyKey: key, fromAccountId, toAccountId, amount } },
  };
}

export function randomCall(number: number, random: Random): Call {
  return random.percent(75)
    ? order(`order-${number}`, random.between(1, 9))
    : transfer(`transfer-${number}`, random.between(1, 50));
}

/** Sends a call until it is answered, whatever becomes of the server. Undefined: it never was. */
export async function retryUntilAnswered(
  call: Call,
  { url, token = "alice-token", patienceMs = 60_000, onResponse }: ClientOptions,
): Promise<Answer | undefined> {
  const until = performance.now() + patienceMs;
  while (performance.now() < until) {
    try {
      const { status, body } = await send(call, url(), token);
      onResponse?.(status, body);
      const result = body.data?.[call.field];
      if (result) return { key: call.key, result: JSON.stringify(result) };
    } catch {
      // No answer, or half of one: whether the call took effect is for the retry to find out.
    }
    await sleep(20 + Math.random() * 30);
  }
  return undefined;
}

export async function send(
  { query, variables }: Pick<Call, "query" | "variables">,
  url: string,
  token: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; body: Body; response: Response }> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}`, ...headers },
    body: JSON.stringify({ query, variables }),
    signal: AbortSignal.timeout(15_000),
  });
  return { status: response.status, body: await response.json(), response };
}
