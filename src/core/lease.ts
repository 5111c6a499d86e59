import { setTimeout as sleep } from "node:timers/promises";
import { v5 as uuidFromName } from "uuid";
import { IdempotencyError } from "../errors.ts";
import type { Claim, Lease, Leases, Payload, RecordIdentity } from "../stores/store.ts";
import { type Call, refuseOtherArguments, stillRunning } from "./call.ts";
import { keptForMs, refuseOldKey } from "./key-age.ts";
import { type Executed, recordOfRun, replay } from "./record.ts";

/**
 * What a resolver with `effects: EXTERNAL` finds in its context as `idempotency`. Such a resolver runs outside
 * any transaction and runs again after a crash; these members keep it from repeating finished work.
 */
export interface ExternalCall<Transaction> {
  /** The key as the client sent it. */
  readonly key: string;
  /**
   * A UUID that is the same in every run of this call, for the other system's own idempotency key. Where the
   * other system takes one, its effect happens once; where it doesn't, a crash between its effect and the
   * end of the step can repeat it.
   */
  readonly downstreamKey: string;
  /** Higher in every run that took over: a system that refuses lower tokens is safe from a late run. */
  readonly fencingToken: number;
  /** Aborted when another run has taken over. Nothing that this run does from then on is kept. */
  readonly signal: AbortSignal;
  /** Calls another system, and saves its answer: a later run gets it without calling again. */
  step<Result>(name: string, work: () => Result | Promise<Result>): Promise<Result>;
  /** Writes to the database in one transaction with its own mark: a later run doesn't write again. */
  write<Result>(name: string, work: (transaction: Transaction) => Result | Promise<Result>): Promise<Result>;
}

/**
 * Runs a call that has effects outside the database.
 *
 * claimed → running (renewed) → finished
 *              ├ failed → released ──┐
 *              └ crashed → expired ──┴→ claimed by the next retry, under a higher fencing token
 *
 * The claim commits before the run, the result after it. A run that comes too late, because another has
 * taken over, can neither finish nor save a step.
 */
export async function runUnderLease<Transaction>(
  leases: Leases<Transaction>,
  now: () => number,
  call: Call,
  run: (external: ExternalCall<Transaction>) => unknown,
  waitUntil: number,
): Promise<Executed> {
  refuseOldKey(call, now());
  const { identity, fingerprint, rules } = call;
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 2, 200)) {
    const retentionMs = keptForMs(call, now());
    const claim = await leases.claim(identity, {
      fingerprint: fingerprint.current,
      matches: fingerprint.matches,
      leaseMs: rules.leaseMs,
      retentionMs,
    });
    if (claim.kind === "found") return replay(call, claim.record);
    if (claim.kind === "claimed") return runClaimed(leases, now, call, run, claim);
    refuseOtherArguments(call, claim.fingerprint);
    // Another process holds the key. The only way to learn of its end is to look again.
    if (rules.concurrent === "REJECT" || performance.now() + pauseMs > waitUntil) throw stillRunning(call);
    await sleep(pauseMs);
  }
}

async function runClaimed<Transaction>(
  leases: Leases<Transaction>,
  now: () => number,
  call: Call,
  run: (external: ExternalCall<Transaction>) => unknown,
  { lease, steps }: Claim & { readonly kind: "claimed" },
): Promise<Executed> {
  const takenOver = new AbortController();
  const stopRenewing = renewRegularly(leases, lease, call.rules.leaseMs, takenOver);
  try {
    const { record } = await recordOfRun(call, now, () =>
      run(externalCall(leases, call, lease, steps, takenOver.signal)),
    );
    await changeOrThrow(leases, call, lease, () => ({ kind: "finish", record }));
    return { record, replayed: false };
  } catch (error) {
    await release(leases, lease);
    throw error;
  } finally {
    stopRenewing();
  }
}

/** A release may fail without harm: the lease expires by itself. */
async function release<Transaction>(leases: Leases<Transaction>, lease: Lease): Promise<void> {
  await leases.change(lease, () => ({ kind: "release" })).catch(() => {});
}

function renewRegularly<Transaction>(
  leases: Leases<Transaction>,
  lease: Lease,
  leaseMs: number,
  takenOver: AbortController,
): () => void {
  async function renew(): Promise<void> {
    const held = await leases.change(lease, () => ({ kind: "renew", leaseMs }));
    if (!held) takenOver.abort();
  }
  // After a failed renewal the next one tries again, well before the lease ends.
  const timer = setInterval(() => void renew().catch(() => {}), leaseMs / 4).unref();
  return () => clearInterval(timer);
}

function externalCall<Transaction>(
  leases: Leases<Transaction>,
  call: Call,
  lease: Lease,
  finished: Readonly<Record<string, Payload>>,
  signal: AbortSignal,
): ExternalCall<Transaction> {
  const steps = new Map(Object.entries(finished));

  function decode<Result>(payload: Payload): Result {
    return call.rules.codec.decode(payload) as Result; // `as`: it was encoded as one
  }

  async function write<Result>(
    name: string,
    work: (transaction: Transaction) => Result | Promise<Result>,
  ): Promise<Result> {
    const done = steps.get(name);
    if (done) return decode(done);
    let payload: Payload | undefined;
    await changeOrThrow(leases, call, lease, async (transaction) => {
      payload = call.rules.codec.encode(await work(transaction));
      return { kind: "step", name, payload };
    });
    const saved = payload as unknown as Payload; // `as`: the change was carried out, so its work has run
    steps.set(name, saved);
    return decode(saved);
  }

  async function step<Result>(name: string, work: () => Result | Promise<Result>): Promise<Result> {
    if (steps.has(name)) return write(name, work);
    // The work runs before the transaction that saves its result, not within it.
    const result = await work();
    return write(name, () => result);
  }

  return {
    key: call.key.sent,
    downstreamKey: downstreamKeyOf(call.identity),
    fencingToken: lease.fencingToken,
    signal,
    step,
    write,
  };
}

async function changeOrThrow<Transaction>(
  leases: Leases<Transaction>,
  call: Call,
  lease: Lease,
  work: Parameters<Leases<Transaction>["change"]>[1],
): Promise<void> {
  if (await leases.change(lease, work)) return;
  throw new IdempotencyError(
    "IDEMPOTENCY_CONCURRENT_REQUEST",
    "This call took longer than its lease, and a retry has taken over. Retry with the same key to get its result.",
    { key: call.key.sent },
  );
}

/** Derived from the identity, so the same call always has the same downstream key and none is stored. */
function downstreamKeyOf({ scope, field, key }: RecordIdentity): string {
  return uuidFromName(JSON.stringify([scope, field, key]), "5f6cd9e4-4c3c-5d0e-9a57-0d2f4a3c1b60");
}
