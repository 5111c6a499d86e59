/** What a record is found by. The same key in another scope or on another field is another call. */
export interface RecordIdentity {
  /** Whose call it is: a customer, a tenant. Empty for calls that share one scope. */
  readonly scope: string;
  /** The field's coordinate (`Mutation.createOrder`), or the name of an operation outside GraphQL. */
  readonly field: string;
  readonly key: string;
}

/**
 * How `payload` is read: `json` and `devalue` hold a result; `error` holds, as JSON, the message and the
 * extensions of an error that is the call's result (`errors: REPLAY`).
 */
export type PayloadFormat = "json" | "devalue" | "error";

/** What a call left behind, and all that a replay needs. */
export interface StoredRecord extends RecordIdentity, Payload {
  /** What the key was used for: see `fingerprint`. */
  readonly fingerprint: string;
  /** The new resource's ID, or null when the result has none. */
  readonly resourceId: string | null;
  /** Milliseconds since the epoch, by the store's clock. */
  readonly createdAt: number;
  /** Milliseconds since the epoch. From this moment the record counts as absent. */
  readonly expiresAt: number;
}

/** How a result or an error is kept. */
export interface Payload {
  readonly format: PayloadFormat;
  readonly payload: string;
}

/** What becomes of a transaction's writes once its work is done. */
export type Verdict =
  /** The work's writes commit together with the record. */
  | { readonly kind: "keep"; readonly record: StoredRecord }
  /** The work's writes are rolled back; the record commits. */
  | { readonly kind: "discard"; readonly record: StoredRecord }
  /** There was a live record already, and the work has written nothing. */
  | { readonly kind: "found"; readonly record: StoredRecord };

/** Another process has a transaction with this identity, and it lasted longer than the call would wait. */
export interface Running {
  readonly kind: "running";
}

/** What a call allows its transaction to do. A store whose transactions take turns needs to know none of it. */
export interface Terms {
  /** Most milliseconds to wait for another process's transaction with the same identity; 0 for no wait. */
  readonly waitMs: number;
  /** Whether the verdict may be `discard`, which a store may have to prepare for. */
  readonly mayDiscard: boolean;
}

/**
 * The port that every store implements.
 *
 * What all of it rests on: a record and the writes made through `Transaction` become durable in one atomic
 * step, and of any number of concurrent transactions with one identity at most one finds no live record.
 */
export interface Store<Transaction> {
  /** The clock of `createdAt` and `expiresAt`: milliseconds since the epoch. */
  readonly now: () => number;

  /**
   * The live record, read without waiting for any transaction that runs. It may be left out where looking for
   * it costs more than it is likely to spare: `transaction` finds it.
   */
  find(identity: RecordIdentity): StoredRecord | undefined | Promise<StoredRecord | undefined>;

  /**
   * Runs `work` in a transaction that sees whether a live record exists, and carries out its verdict. Where
   * the database asks for it (a deadlock), it does so again from the start.
   *
   * When the promise is fulfilled, record and writes are durable. When it is rejected with what `work` threw,
   * neither exists. When it is rejected with IDEMPOTENCY_STORE_UNAVAILABLE, a retry with the same key finds
   * out which.
   */
  transaction(
    identity: RecordIdentity,
    work: (transaction: Transaction, found: StoredRecord | undefined) => Promise<Verdict>,
    terms: Terms,
  ): Promise<Verdict | Running>;

  /** Runs `work` in a transaction without a record, with the same promises. */
  write<Result>(work: (transaction: Transaction) => Result | Promise<Result>): Promise<Result>;

  /** Deletes expired records, a few at a time, and tells how many they were. */
  purge(): Promise<number>;

  /** What `effects: EXTERNAL` needs. A store may lack it. */
  readonly leases?: Leases<Transaction>;
}

/**
 * Claims on keys whose calls run outside any transaction. A claim holds until its lease ends, and may be
 * renewed; then the next call takes over, under a higher fencing token. What a claim leaves behind, it can
 * only leave while nobody has taken over.
 */
export interface Leases<Transaction> {
  /** Claims a key, durably, or tells why not. */
  claim(
    identity: RecordIdentity,
    claim: { readonly fingerprint: string; readonly leaseMs: number; readonly retentionMs: number },
  ): Promise<Claim>;

  /**
   * Runs `work` in a transaction and carries out the change that it returns, together with its writes; or
   * returns false, without running it, when another call has taken over.
   */
  change(
    lease: Lease,
    work: (transaction: Transaction) => LeaseChange | Promise<LeaseChange>,
  ): Promise<boolean>;
}

export interface Lease {
  readonly identity: RecordIdentity;
  /** Higher than that of every earlier claim of the key. */
  readonly fencingToken: number;
}

export type Claim =
  /** The call has a record already. */
  | { readonly kind: "found"; readonly record: StoredRecord }
  /** Another call holds the key, or has held it for other arguments. */
  | { readonly kind: "held"; readonly fingerprint: string; readonly leaseUntil: number }
  /** The key is this call's, with the steps that earlier claims of it finished. */
  | { readonly kind: "claimed"; readonly lease: Lease; readonly steps: Readonly<Record<string, Payload>> };

export type LeaseChange =
  | { readonly kind: "renew"; readonly leaseMs: number }
  | { readonly kind: "step"; readonly name: string; readonly payload: Payload }
  /** The call is over: its record takes the claim's place. */
  | { readonly kind: "finish"; readonly record: StoredRecord }
  /** The call failed: the next one may take over at once, and finds the finished steps. */
  | { readonly kind: "release" };
