import { GraphQLError } from "graphql";
import { type ErrorAdvice, IdempotencyError } from "./errors.ts";
import { fingerprint, ignoreTree } from "./fingerprint.ts";
import { type Key, timeOfKey, validKey } from "./key.ts";
import { checkOptions } from "./options.ts";
import { createPayloadCodec, type PayloadCodec, type PayloadOptions } from "./payload.ts";
import { type Retention, retentionForm, retentionMs } from "./retention.ts";
import { type SHARED, scopeOf } from "./scope.ts";
import type { NewRecord, RecordIdentity, Store, StoredRecord, Verdict } from "./store.ts";

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
  /** A thrown error: RETRY (nothing is kept) or REPLAY (a GraphQLError is the result). @default "RETRY" */
  readonly errors?: ErrorPolicy;
}

export type Concurrent = "WAIT" | "REJECT";
export type ErrorPolicy = "RETRY" | "REPLAY";

/** The result of a call, and where it came from. */
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
export async function once<Transaction, Result>(
  store: Store<Transaction>,
  options: OnceOptions,
  run: (transaction: Transaction) => Result | Promise<Result>,
): Promise<Once<Result>> {
  const call = callOf(options);
  const { record, replayed } = await settle(store, call, run);
  return {
    result: call.codec.decode(record) as Result, // `as`: the codec returns what it was given
    replayed,
    resourceId: record.resourceId,
    createdAt: new Date(record.createdAt),
    expiresAt: new Date(record.expiresAt),
  };
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
  "errors",
  "types",
  "maxBytes",
];

function callOf(options: OnceOptions): Call {
  checkOptions("once", options, knownOptions);
  const key = validKey(options.key, "`key`");
  if (key === undefined) throw new IdempotencyError("IDEMPOTENCY_KEY_MISSING", "once() requires a `key`.");
  const keptMs = retentionMs(options.retention ?? "24h");
  if (keptMs === undefined) {
    throw new TypeError(
      `once(): retention must be ${retentionForm}, but it is ${JSON.stringify(options.retention)}`,
    );
  }
  return {
    identity: { scope: scopeOf(options.scope), field: options.field, key },
    key: { sent: key, stored: key },
    fingerprint: fingerprint(options.input, ignoreTree(options.ignore ?? [])),
    resourceId: (options.resourceId ?? "id").split("."),
    retentionMs: keptMs,
    concurrent: options.concurrent ?? "WAIT",
    waitMs: options.waitMs ?? 10_000,
    errors: options.errors ?? "RETRY",
    codec: createPayloadCodec(options),
  };
}

/** A call whose options have been checked. */
export interface Call {
  readonly identity: RecordIdentity;
  readonly key: Key;
  readonly fingerprint: string;
  /** Steps of the path to the new resource's ID. */
  readonly resourceId: readonly string[];
  readonly retentionMs: number;
  readonly concurrent: Concurrent;
  readonly waitMs: number;
  readonly errors: ErrorPolicy;
  readonly codec: PayloadCodec;
}

/** A call that has its record: its own, or one that was there before. */
export interface Settled {
  readonly record: NewRecord & RecordIdentity;
  readonly replayed: boolean;
}

/**
 * The heart: replays, runs, or refuses.
 *
 * A stored record is replayed. Without one, the call takes off as the flight of its identity, unless another
 * of this process is in the air: then it waits for that one to land and shares its record, or, when it
 * failed, starts over. Calls of other processes are held apart by the store's transaction.
 */
export async function settle<Transaction>(
  store: Store<Transaction>,
  call: Call,
  run: (transaction: Transaction) => unknown,
): Promise<Settled> {
  const flights = flightsOf(store);
  const id = flightId(call.identity);
  const waitUntil = performance.now() + call.waitMs;
  for (;;) {
    const stored = await store.find(call.identity);
    if (stored) return replay(call, stored);
    const flight = flights.get(id);
    if (!flight) return takeOff(store, call, run, flights, id);
    if (flight.fingerprint !== call.fingerprint) throw mismatch(call);
    if (call.concurrent === "REJECT") throw stillRunning(call);
    const landed = await landing(flight, waitUntil);
    if (landed === "timeout") throw stillRunning(call);
    if (landed) return { record: landed, replayed: true };
  }
}

/** A call that runs, in this process. */
interface Flight {
  readonly fingerprint: string;
  /** Fulfilled with the record when it is durable, and with undefined when the call failed. */
  readonly landed: Promise<Settled["record"] | undefined>;
}

type Flights = Map<string, Flight>;

const flightsByStore = new WeakMap<object, Flights>();

function flightsOf(store: object): Flights {
  const known = flightsByStore.get(store);
  if (known) return known;
  const flights: Flights = new Map();
  flightsByStore.set(store, flights);
  return flights;
}

// Neither keys nor coordinates contain a NUL, so the scope may.
function flightId({ scope, field, key }: RecordIdentity): string {
  return `${field}\0${key}\0${scope}`;
}

async function takeOff<Transaction>(
  store: Store<Transaction>,
  call: Call,
  run: (transaction: Transaction) => unknown,
  flights: Flights,
  id: string,
): Promise<Settled> {
  let land: (record: Settled["record"] | undefined) => void = () => {};
  const landed = new Promise<Settled["record"] | undefined>((resolve) => {
    land = resolve;
  });
  flights.set(id, { fingerprint: call.fingerprint, landed });
  let record: Settled["record"] | undefined;
  try {
    const verdict = await store.transaction(call.identity, (transaction, found) =>
      judge(store, call, run, transaction, found),
    );
    record = { ...call.identity, ...verdict.record };
    return verdict.kind === "found" ? replay(call, record) : { record, replayed: false };
  } finally {
    flights.delete(id);
    land(record);
  }
}

/** Runs inside the transaction: whatever it decides becomes true in one step, or not at all. */
async function judge<Transaction>(
  store: Store<Transaction>,
  call: Call,
  run: (transaction: Transaction) => unknown,
  transaction: Transaction,
  found: StoredRecord | undefined,
): Promise<Verdict> {
  if (found) return { kind: "found", record: found };
  refuseOldKey(call, store.now());
  try {
    const result = await run(transaction);
    const resourceId = resourceIdOf(result, call.resourceId);
    return { kind: "keep", record: newRecord(store.now(), call, call.codec.encode(result), resourceId) };
  } catch (error) {
    if (call.errors !== "REPLAY" || !isResult(error)) throw error;
    return { kind: "discard", record: newRecord(store.now(), call, call.codec.encodeError(error), null) };
  }
}

/** An error that a resolver meant its client to see. This package's own errors are about the call, not its result. */
function isResult(error: unknown): error is GraphQLError {
  return error instanceof GraphQLError && !(error instanceof IdempotencyError);
}

function newRecord(
  createdAt: number,
  call: Call,
  payload: ReturnType<PayloadCodec["encode"]>,
  resourceId: string | null,
): NewRecord {
  const expiresAt = createdAt + call.retentionMs;
  return { fingerprint: call.fingerprint, ...payload, resourceId, createdAt, expiresAt };
}

function resourceIdOf(result: unknown, path: readonly string[]): string | null {
  let value = result;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return null;
    value = (value as Record<string, unknown>)[step]; // `as`: any object may be asked for a property
  }
  return typeof value === "string" || typeof value === "number" || typeof value === "bigint"
    ? String(value)
    : null;
}

function replay(call: Call, record: Settled["record"]): Settled {
  if (record.fingerprint !== call.fingerprint) throw mismatch(call);
  return { record, replayed: true };
}

/** Waits for a flight without keeping a timer behind. */
async function landing(flight: Flight, until: number): Promise<Settled["record"] | undefined | "timeout"> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<"timeout">((resolve) => {
    timer = setTimeout(resolve, until - performance.now(), "timeout");
  });
  try {
    return await Promise.race([flight.landed, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function mismatch({ key }: Call): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
    "This idempotency key was used for a call with other arguments. A retry must have the arguments of the first call; another call needs a key of its own.",
    { key: key.sent },
  );
}

function stillRunning({ key }: Call): IdempotencyError {
  return new IdempotencyError(
    "IDEMPOTENCY_CONCURRENT_REQUEST",
    "A call with this idempotency key is still running. Retry with the same key to get its result.",
    { key: key.sent },
  );
}

/**
 * A key that tells its age and is older than the retention may have had a record that is gone by now.
 * Running the call again could repeat its effect.
 */
function refuseOldKey(call: Call, now: number): void {
  const madeAt = timeOfKey(call.key.sent);
  if (madeAt === undefined || now - madeAt <= call.retentionMs) return;
  throw new IdempotencyError(
    "IDEMPOTENCY_KEY_EXPIRED",
    `This idempotency key was made at ${new Date(madeAt).toISOString()}, and results are kept for ${call.retentionMs / 1000} seconds: whether the call ran before can't be told any more. Look for its effect; if there is none, make a new key.`,
    { key: call.key.sent },
  );
}

/** The advice for a client about an error that the resolver threw. */
export function adviceOn(call: Call, error: unknown): ErrorAdvice {
  const replays = call.errors === "REPLAY" && isResult(error);
  // The transaction was rolled back, so the call has had no effect whatever the key.
  return { key: call.key.sent, retryable: !replays, safeToUseNewKey: true };
}
