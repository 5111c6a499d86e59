import type { RecordIdentity, StoredRecord } from "../stores/store.ts";

/** A call that runs, in this process. */
export interface Flight {
  readonly fingerprint: string;
  /** Fulfilled with the record when it is durable, and with undefined when the call failed. */
  readonly landed: Promise<StoredRecord | undefined>;
  land(record: StoredRecord | undefined): void;
}

/** The calls of one store that run in this process: at most one for each identity. */
export class Flights {
  readonly #flights = new Map<string, Flight>();

  find(identity: RecordIdentity): Flight | undefined {
    return this.#flights.get(idOf(identity));
  }

  takeOff(identity: RecordIdentity, fingerprint: string): Flight {
    const id = idOf(identity);
    let settle: (record: StoredRecord | undefined) => void;
    const landed = new Promise<StoredRecord | undefined>((resolve) => {
      settle = resolve;
    });
    const land = (record: StoredRecord | undefined): void => {
      this.#flights.delete(id);
      settle(record);
    };
    const flight: Flight = { fingerprint, landed, land };
    this.#flights.set(id, flight);
    return flight;
  }
}

const flightsByStore = new WeakMap<object, Flights>();

export function flightsOf(store: object): Flights {
  const known = flightsByStore.get(store);
  if (known) return known;
  const flights = new Flights();
  flightsByStore.set(store, flights);
  return flights;
}

// Neither keys nor coordinates contain a NUL, so the scope may.
function idOf({ scope, field, key }: RecordIdentity): string {
  return `${field}\0${key}\0${scope}`;
}

/** Waits for a flight to land, until a time of `performance.now()`. */
export async function landing(flight: Flight, until: number): Promise<StoredRecord | undefined | "timeout"> {
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
