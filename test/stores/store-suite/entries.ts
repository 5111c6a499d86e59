import type { Store, StoredRecord } from "graphql-idempotent";

/** The time at which every test's clock stands. */
export const noon = Date.parse("2026-01-15T12:00:00.000Z");

export interface Entry {
  readonly id: number;
  readonly text: string;
}

/** A database with a table of entries and the table of records, both empty, and a store on it. */
export interface Entries<Tx> extends AsyncDisposable {
  readonly store: Store<Tx>;
  /** The clock of all stores on this database: tests set it. */
  readonly clock: { now: number };
  /** The store of another process on the same database, as far as stores can tell. */
  another(): Promise<Store<Tx>>;
  insert(tx: Tx, text: string): Promise<Entry>;
  /** What is in the table of entries, as everybody sees it. */
  texts(): Promise<string[]>;
  /** All records and claims, in the order of their keys. */
  records(): Promise<(StoredRecord & { readonly leaseUntil: number | null })[]>;
  /** Makes every stored result unreadable. */
  spoil(): Promise<void>;
  /** Takes the table of records away, until the function that it returns is called. */
  hideRecords(): Promise<() => Promise<void>>;
}

export interface StoreOptions {
  readonly now?: () => number;
  readonly purgeEveryMs?: number;
}

export type OpenEntries<Tx> = (options?: StoreOptions) => Promise<Entries<Tx>>;

/** A call that runs and then waits; `started` is fulfilled when it does. */
export function held<Tx, Result>(work: (tx: Tx) => Promise<Result>) {
  let release = (_error?: Error): void => {};
  let start = (): void => {};
  const started = new Promise<void>((resolve) => {
    start = resolve;
  });
  const gate = new Promise<void>((resolve, reject) => {
    release = (error) => (error ? reject(error) : resolve());
  });
  async function run(tx: Tx): Promise<Result> {
    const result = await work(tx);
    start();
    await gate;
    return result;
  }
  return { run, started, release };
}
