import type { RecordIdentity, StoredRecord } from "../stores/store.ts";
import { shared } from "./shared.ts";

/** A call that runs in this process, and that its duplicates wait for. */
export interface InFlightCall {
  readonly fingerprint: string;
  /** Fulfilled with the record once it is durable, and with undefined when the call failed. */
  readonly finished: Promise<StoredRecord | undefined>;
  finish(record: StoredRecord | undefined): void;
}

/** The calls of one store that run in this process: at most one for each identity (single-flight). */
export class InFlightCalls {
  readonly #calls = new Map<string, InFlightCall>();

  find(identity: RecordIdentity): InFlightCall | undefined {
    return this.#calls.get(idOf(identity));
  }

  start(identity: RecordIdentity, fingerprint: string): InFlightCall {
    const id = idOf(identity);
    let fulfil: (record: StoredRecord | undefined) => void;
    const finished = new Promise<StoredRecord | undefined>((resolve) => {
      fulfil = resolve;
    });
    const finish = (record: StoredRecord | undefined): void => {
      this.#calls.delete(id);
      fulfil(record);
    };
    const call: InFlightCall = { fingerprint, finished, finish };
    this.#calls.set(id, call);
    return call;
  }
}

const callsByStore = shared("graphql-idempotent.in-flight", () => new WeakMap<object, InFlightCalls>());

export function inFlightCallsOf(store: object): InFlightCalls {
  const known = callsByStore.get(store);
  if (known) return known;
  const calls = new InFlightCalls();
  callsByStore.set(store, calls);
  return calls;
}

// Neither keys nor coordinates contain a NUL, so the scope may.
function idOf({ scope, field, key }: RecordIdentity): string {
  return `${field}\0${key}\0${scope}`;
}
