import { inspect } from "node:util";
import { IdempotencyError, isIdempotencyError, withKey } from "../errors.ts";
import { checkOption, checkOptions, checkPositive, checkStore, isStringArray } from "../options.ts";
import type { Store } from "../stores/store.ts";
import {
  type Call,
  type CallRules,
  type Concurrent,
  createCall,
  defaultRules,
  type ErrorPolicy,
} from "./call.ts";
import { type Effect, execute } from "./execute.ts";
import { fingerprintOf, ignoreTree } from "./fingerprint.ts";
import { validKey } from "./key.ts";
import type { ExternalCall } from "./lease.ts";
import { createPayloadCodec, type PayloadOptions } from "./payload.ts";
import { type Retention, retentionForm, retentionMs } from "./retention.ts";
import { type SHARED, scopeOf } from "./scope.ts";

export interface OnceOptions extends PayloadOptions {
  /** Whose call it is. Two scopes never see each other's results. */
  readonly scope: string | typeof SHARED;
  /** The operation's name, such as `orders.consume`. The same key under another name is another call. */
  readonly field: string;
  /** The idempotency key: a message's ID, a configuration's version. 1 to 255 characters. */
  readonly key: string;
  /** What the call works on: another input under the same key is refused. @default undefined */
  readonly input?: unknown;
  /** Dotted paths in `input` that may differ between retries. @default [] */
  readonly ignore?: readonly string[];
  /** Dotted path of the new resource's ID in the result. @default "id" */
  readonly resourceId?: string;
  /** How long the result is replayed. @default "24h" (as Stripe keeps its keys) */
  readonly retention?: Retention;
  /** A duplicate of a running call: WAIT for its result, or REJECT. @default "WAIT" */
  readonly concurrent?: Concurrent;
  /** How long WAIT waits, in milliseconds, before it rejects. @default 10_000 */
  readonly waitMs?: number;
  /** {@link onceExternal}: how long after a crash a later call takes over, in milliseconds. @default 30_000 */
  readonly leaseMs?: number;
  /** A thrown error: RETRY (nothing is kept) or REPLAY (a GraphQLError is the result). @default "RETRY" */
  readonly errors?: ErrorPolicy;
}

/** The result of a call, and whether it is a replay. */
export interface Once<Result> {
  readonly result: Result;
  /** True when the result was stored by an earlier call, false when this call ran. */
  readonly replayed: boolean;
  readonly resourceId: string | null;
  readonly createdAt: Date;
  /** From this moment the same key runs again. */
  readonly expiresAt: Date;
}

/**
 * Runs `run` once for a key, in one transaction with the record of its result; every further call with the
 * key gets that result. For work outside GraphQL: a queue that delivers a message twice, a job, a
 * configuration that is applied again.
 *
 * What `run` writes through its transaction and the record commit together or not at all, so no crash makes
 * a duplicate, loses a returned result or leaves the key stuck. What `run` does elsewhere is not protected.
 *
 * @throws {IdempotencyError} see PROTOCOL.md for the codes
 * @throws whatever `run` throws; nothing is kept then, and a retry runs again
 */
export function once<Transaction, Result>(
  store: Store<Transaction>,
  options: OnceOptions,
  run: (transaction: Transaction) => Result | Promise<Result>,
): Promise<Once<Result>> {
  return executeOnce(store, options, { kind: "DATABASE", run });
}

/**
 * Like {@link once}, for work that calls other systems: it runs outside any transaction under a lease, and a
 * call that comes after a crash takes over, with the steps that were finished.
 */
export function onceExternal<Transaction, Result>(
  store: Store<Transaction>,
  options: OnceOptions,
  run: (external: ExternalCall<Transaction>) => Result | Promise<Result>,
): Promise<Once<Result>> {
  return executeOnce(store, options, { kind: "EXTERNAL", run });
}

async function executeOnce<Transaction, Result>(
  store: Store<Transaction>,
  options: OnceOptions,
  effect: Effect<Transaction>,
): Promise<Once<Result>> {
  checkStore("once", store);
  const call = callOf(options);
  try {
    const { record, replayed } = await execute(store, call, effect);
    return {
      result: call.rules.codec.decode(record) as Result, // `as`: the codec returns what it was given
      replayed,
      resourceId: record.resourceId,
      createdAt: new Date(record.createdAt),
      expiresAt: new Date(record.expiresAt),
    };
  } catch (error) {
    throw isIdempotencyError(error) ? withKey(error, call.key.sent) : error;
  }
}

const knownOptions: readonly (keyof OnceOptions)[] = [
  "scope",
  "field",
  "key",
  "input",
  "ignore",
  "resourceId",
  "retention",
  "concurrent",
  "waitMs",
  "leaseMs",
  "errors",
  "types",
  "maxBytes",
];

function callOf(options: OnceOptions): Call {
  check(options);
  const key = validKey(options.key, "`key`");
  if (key === undefined) throw new IdempotencyError("IDEMPOTENCY_KEY_MISSING", "once() requires a `key`.");
  const print = fingerprintOf(options.input, ignoreTree(options.ignore ?? []));
  return createCall(
    scopeOf(options.scope),
    options.field,
    { sent: key, stored: key },
    print,
    rulesOf(options),
  );
}

/** Building a codec costs more than a call's other rules, and most callers register no types. */
const defaultCodec = createPayloadCodec();

function rulesOf(options: OnceOptions): CallRules {
  const hasOwnCodec = options.types !== undefined || options.maxBytes !== undefined;
  return {
    resourceId: (options.resourceId ?? defaultRules.resourceId).split("."),
    retentionMs: retentionMs(options.retention ?? defaultRules.retention) as number, // `as`: it has been checked
    concurrent: options.concurrent ?? defaultRules.concurrent,
    waitMs: options.waitMs ?? defaultRules.waitMs,
    leaseMs: options.leaseMs ?? defaultRules.leaseMs,
    errors: options.errors ?? defaultRules.errors,
    codec: hasOwnCodec ? createPayloadCodec(options) : defaultCodec,
  };
}

function check(options: OnceOptions): void {
  const caller = "once";
  checkOptions(caller, options, knownOptions);
  // Without control characters: one of them separates the parts of an identity.
  const isField = (value: unknown) =>
    typeof value === "string" && value !== "" && !/\p{Cc}|\p{Cs}/u.test(value);
  if (!isField(options.field)) {
    throw new TypeError(
      `once() requires a field: the operation's name, without control characters, but it is ${inspect(options.field)}.`,
    );
  }
  const isPath = (value: unknown) => typeof value === "string" && !value.split(".").includes("");
  checkOption(caller, options, "ignore", "an array of dotted paths", isStringArray);
  checkOption(caller, options, "resourceId", 'a dotted path such as "order.id"', isPath);
  checkOption(
    caller,
    options,
    "concurrent",
    '"WAIT" or "REJECT"',
    (value) => value === "WAIT" || value === "REJECT",
  );
  checkOption(
    caller,
    options,
    "errors",
    '"RETRY" or "REPLAY"',
    (value) => value === "RETRY" || value === "REPLAY",
  );
  checkOption(caller, options, "retention", retentionForm, (value) => retentionMs(value) !== undefined);
  const { waitMs, leaseMs, maxBytes } = options;
  checkPositive(caller, { waitMs, leaseMs, maxBytes });
}
