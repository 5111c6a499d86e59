import { type ExternalCall, type Once, type OnceOptions, onceExternal, type Store } from "graphql-idempotent";
import { afterEach, beforeEach, vi } from "vitest";
import type { Entries } from "./entries.ts";

/** A call under a lease of one second. */
export const payment: OnceOptions = {
  scope: "alice",
  field: "payments.pay",
  key: "k-1",
  input: { order: 1 },
  leaseMs: 1_000,
};

/** The refusal of a call whose key another run holds, and of a run that another has taken over from. */
export const heldByAnother = { code: "IDEMPOTENCY_CONCURRENT_REQUEST" };

/** A call under a lease, as far as its resolver: it lasts until a test finishes it. */
export interface OpenRun<Tx> {
  readonly external: ExternalCall<Tx>;
  finish(result: unknown): void;
  readonly outcome: Promise<Once<unknown>>;
}

export interface TwoProcesses<Tx, Opened extends Entries<Tx>> {
  readonly opened: Opened;
  readonly here: Store<Tx>;
  readonly there: Store<Tx>;
  /** Writes an entry in a transaction. */
  add(text: string): (tx: Tx) => Promise<unknown>;
  /** Starts a run that does `before`, and then lasts until it is finished. */
  start(
    store: Store<Tx>,
    options?: OnceOptions,
    before?: (external: ExternalCall<Tx>) => Promise<unknown>,
  ): Promise<OpenRun<Tx>>;
  /** Lets the time of a renewal come, and waits until the store has carried it out or refused it. */
  renew(store: Store<Tx>): Promise<void>;
}

/**
 * Two processes on one database, as far as leases can tell, anew for each test. A crashed process renews
 * nothing, so leases are renewed only where a test says so.
 */
export function twoProcesses<Tx, Opened extends Entries<Tx> = Entries<Tx>>(
  open: () => Promise<Opened & Entries<Tx>>,
): TwoProcesses<Tx, Opened> {
  let opened: Opened;
  let here: Store<Tx>;
  let there: Store<Tx>;
  const runs: OpenRun<Tx>[] = [];

  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    opened = await open();
    here = opened.store;
    there = await opened.another();
  });

  afterEach(async () => {
    for (const run of runs) run.finish(null);
    await Promise.allSettled(runs.splice(0).map(({ outcome }) => outcome));
    vi.restoreAllMocks();
    vi.useRealTimers();
    await opened[Symbol.asyncDispose]();
  });

  async function start(
    store: Store<Tx>,
    options = payment,
    before: (external: ExternalCall<Tx>) => Promise<unknown> = async () => {},
  ): Promise<OpenRun<Tx>> {
    const [granted, grant] = gate<ExternalCall<Tx>>();
    const [finished, finish] = gate<unknown>();
    const outcome = onceExternal(store, options, async (external) => {
      await before(external);
      grant(external);
      return finished;
    });
    // A call that is refused grants nothing.
    const run = { external: await Promise.race([granted, outcome.then(neverRan)]), finish, outcome };
    outcome.catch(() => {}); // here; tests look at it where it matters
    runs.push(run);
    return run;
  }

  async function renew(store: Store<Tx>): Promise<void> {
    const change = vi.spyOn(leasesOf(store), "change");
    const quarter = (payment.leaseMs ?? 0) / 4;
    opened.clock.now += quarter;
    await vi.advanceTimersByTimeAsync(quarter);
    await Promise.allSettled(change.mock.results.map(({ value }) => value));
    change.mockRestore();
  }

  return {
    get opened() {
      return opened;
    },
    get here() {
      return here;
    },
    get there() {
      return there;
    },
    add: (text) => (tx) => opened.insert(tx, text),
    start,
    renew,
  };
}

export function leasesOf<Tx>({ leases }: Store<Tx>): NonNullable<Store<Tx>["leases"]> {
  if (!leases) throw new Error("The store under test must have leases.");
  return leases;
}

function neverRan(): never {
  throw new Error("The call has a result before its run was finished.");
}

/** A promise, and the function that fulfils it. */
function gate<Value>(): [promise: Promise<Value>, open: (value: Value) => void] {
  let open: (value: Value) => void = () => {};
  const promise = new Promise<Value>((resolve) => {
    open = resolve;
  });
  return [promise, open];
}
