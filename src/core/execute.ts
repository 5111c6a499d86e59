import type { Store, StoredRecord, TransactionOutcome } from "../stores/store.ts";
import { withTimeout } from "../stores/with-timeout.ts";
import { type Call, refuseOtherArguments, stillRunning } from "./call.ts";
import { inFlightCallsOf } from "./in-flight.ts";
import { refuseOldKey } from "./key-age.ts";
import { type ExternalCall, runUnderLease } from "./lease.ts";
import { type Executed, recordOfRun, replay } from "./record.ts";

/** What a call does, and the means that it is given for it. */
export type Effect<Transaction> =
  | { readonly kind: "DATABASE"; readonly run: (transaction: Transaction) => unknown }
  | { readonly kind: "EXTERNAL"; readonly run: (external: ExternalCall<Transaction>) => unknown };

/**
 * The heart: replays, runs, or refuses.
 *
 * A stored record is replayed. Without one, the call runs, unless a duplicate is in flight in this process: then
 * it waits for that call to finish and shares its record, or, when that call failed, starts over. The store
 * keeps calls of different processes apart.
 */
export async function execute<Transaction>(
  store: Store<Transaction>,
  call: Call,
  effect: Effect<Transaction>,
): Promise<Executed> {
  const inFlight = inFlightCallsOf(store);
  const waitUntil = performance.now() + call.rules.waitMs;
  for (;;) {
    const stored = await store.find(call.identity, call.keyTime);
    if (stored) return replay(call, stored);
    const duplicate = inFlight.find(call.identity);
    if (!duplicate) break;
    refuseOtherArguments(call, duplicate.fingerprint);
    if (call.rules.concurrent === "REJECT") throw stillRunning(call);
    store.refuseNesting?.(); // the duplicate may be the call that this code belongs to
    const record = await withTimeout(duplicate.finished, waitUntil - performance.now(), () =>
      stillRunning(call),
    );
    if (record) return { record, replayed: true };
  }
  const own = inFlight.start(call.identity, call.fingerprint.current);
  let executed: Executed | undefined;
  try {
    executed = await run(store, call, effect, waitUntil);
    return executed;
  } finally {
    own.finish(executed?.record);
  }
}

function run<Transaction>(
  store: Store<Transaction>,
  call: Call,
  effect: Effect<Transaction>,
  waitUntil: number,
): Promise<Executed> {
  if (effect.kind === "DATABASE") return runInTransaction(store, call, effect.run, waitUntil);
  if (store.leases) return runUnderLease(store.leases, store.now, call, effect.run, waitUntil);
  throw new TypeError("effects: EXTERNAL needs a store with leases, and this store has none.");
}

async function runInTransaction<Transaction>(
  store: Store<Transaction>,
  call: Call,
  run: (transaction: Transaction) => unknown,
  waitUntil: number,
): Promise<Executed> {
  // Runs inside the transaction: its outcome takes effect in one step, or not at all.
  async function work(
    transaction: Transaction,
    found: StoredRecord | undefined,
  ): Promise<TransactionOutcome> {
    if (found) return { kind: "found", record: found };
    refuseOldKey(call, store.now());
    const { kind, record } = await recordOfRun(call, store.now, () => run(transaction));
    return { kind: kind === "result" ? "keep" : "discard", record };
  }

  const { concurrent, errors } = call.rules;
  const outcome = await store.transaction(call.identity, work, {
    waitMs: concurrent === "REJECT" ? 0 : Math.max(0, waitUntil - performance.now()),
    mayDiscard: errors === "REPLAY",
  });
  if (outcome.kind === "running") throw stillRunning(call);
  return outcome.kind === "found"
    ? replay(call, outcome.record)
    : { record: outcome.record, replayed: false };
}
