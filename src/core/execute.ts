import type { Store, StoredRecord, TransactionOutcome } from "../stores/store.ts";
import {
  type Call,
  recordOf,
  recordOfError,
  refuseOldKey,
  refuseOtherArguments,
  replay,
  type Settled,
  stillRunning,
} from "./call.ts";
import { flightsOf, landing } from "./in-flight.ts";
import { type ExternalCall, underLease } from "./lease.ts";

/** What a call does, and the means that it is given for it. */
export type Effect<Transaction> =
  | { readonly kind: "DATABASE"; readonly run: (transaction: Transaction) => unknown }
  | { readonly kind: "EXTERNAL"; readonly run: (external: ExternalCall<Transaction>) => unknown };

/**
 * The heart: replays, runs, or refuses.
 *
 * A stored record is replayed. Without one, the call takes off as the flight of its identity, unless another
 * of this process is in the air: then it waits for that one to land and shares its record, or, when it
 * failed, starts over. Calls of other processes are held apart by the store.
 */
export async function settle<Transaction>(
  store: Store<Transaction>,
  call: Call,
  effect: Effect<Transaction>,
): Promise<Settled> {
  const flights = flightsOf(store);
  const waitUntil = performance.now() + call.waitMs;
  for (;;) {
    const stored = await store.find(call.identity);
    if (stored) return replay(call, stored);
    const flight = flights.find(call.identity);
    if (!flight) break;
    refuseOtherArguments(call, flight.fingerprint);
    if (call.concurrent === "REJECT") throw stillRunning(call);
    const landed = await landing(flight, waitUntil);
    if (landed === "timeout") throw stillRunning(call);
    if (landed) return { record: landed, replayed: true };
  }
  const own = flights.takeOff(call.identity, call.fingerprint);
  let settled: Settled | undefined;
  try {
    settled = await takeOff(store, call, effect, waitUntil);
    return settled;
  } finally {
    own.land(settled?.record);
  }
}

function takeOff<Transaction>(
  store: Store<Transaction>,
  call: Call,
  effect: Effect<Transaction>,
  waitUntil: number,
): Promise<Settled> {
  if (effect.kind === "DATABASE") return inTransaction(store, call, effect.run, waitUntil);
  if (store.leases) return underLease(store.leases, store.now, call, effect.run, waitUntil);
  throw new TypeError("effects: EXTERNAL needs a store with leases, and this store has none.");
}

async function inTransaction<Transaction>(
  store: Store<Transaction>,
  call: Call,
  run: (transaction: Transaction) => unknown,
  waitUntil: number,
): Promise<Settled> {
  const outcome = await store.transaction(
    call.identity,
    (transaction, found) => judge(store, call, run, transaction, found),
    {
      waitMs: call.concurrent === "REJECT" ? 0 : Math.max(0, waitUntil - performance.now()),
      mayDiscard: call.errors === "REPLAY",
    },
  );
  if (outcome.kind === "running") throw stillRunning(call);
  return outcome.kind === "found"
    ? replay(call, outcome.record)
    : { record: outcome.record, replayed: false };
}

/** Runs inside the transaction: whatever it decides becomes true in one step, or not at all. */
async function judge<Transaction>(
  store: Store<Transaction>,
  call: Call,
  run: (transaction: Transaction) => unknown,
  transaction: Transaction,
  found: StoredRecord | undefined,
): Promise<TransactionOutcome> {
  if (found) return { kind: "found", record: found };
  refuseOldKey(call, store.now());
  try {
    return { kind: "keep", record: recordOf(call, await run(transaction), store.now()) };
  } catch (error) {
    const record = recordOfError(call, error, store.now());
    if (!record) throw error;
    return { kind: "discard", record };
  }
}
