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
  /** Where the server is now; it may have moved since the last try. A promise is waited for, as while it is down. */
  readonly url: () => string | Promise<string>;
  readonly token?: string;
  /**
   * How long a server that is up may refuse a key, or say nothing, before the key counts as stuck, in
   * milliseconds. @default 60_000
   */
  readonly patienceMs?: number;
  /** Ends all tries. */
  readonly signal?: AbortSignal;
  /** Sends the key as a header too, for servers that look for it there. @default false */
  readonly sendsHeader?: boolean;
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
export function order(key: string, quantity: number, productId = product): Call {
  return {
    key,
    field: "createOrder",
    // What replays must repeat; a product's stock moves on, and so is not asked for.
    query: `mutation ($input: CreateOrderInput!, $key: ID!) {
      createOrder(input: $input, idempotencyKey: $key) { id quantity note total { amount } createdAt }
    }`,
    variables: { key, input: { productId, quantity, note: key } },
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
  { url, token = "alice-token", patienceMs = 60_000, signal, sendsHeader = false }: ClientOptions,
): Promise<Answer | undefined> {
  const headers = sendsHeader ? { "idempotency-key": call.key } : {};
  for (let refusedMs = 0; refusedMs < patienceMs && !signal?.aborted; ) {
    const server = await url();
    const began = performance.now();
    try {
      const { body } = await send(call, server, token, headers);
      const result = body.data?.[call.field];
      if (result) return { key: call.key, result: JSON.stringify(result) };
      await pause();
      refusedMs += performance.now() - began;
    } catch (error) {
      // No answer, or half of one: whether the call took effect is for the retry to find out. Only a server that
      // is down (a TypeError of fetch) costs no patience; one that hangs or sends something else does.
      if (!(error instanceof TypeError)) refusedMs += performance.now() - began;
      await pause();
    }
  }
  return undefined;
}

function pause(): Promise<void> {
  return sleep(20 + Math.random() * 30);
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
