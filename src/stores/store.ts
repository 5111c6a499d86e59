/** What a record is found by. The same key in another scope or on another field is another call. */
export interface RecordIdentity {
  /** Whose call it is: a customer, a tenant. Empty for calls that share one scope. */
  readonly scope: string;
  /** The field's coordinate (`Mutation.createOrder`), or the name of an operation outside GraphQL. */
  readonly field: string;
  readonly key: string;
}

/**
 * How `payload` is read: `json` and `devalue` hold a result; `error` (as JSON) and `devalue-error` hold the message
 * and the extensions of an error that is the call's result (`errors: REPLAY`).
 */
export type PayloadFormat = "json" | "devalue" | "error" | "devalue-error";

/** The result of a call, and all that a replay needs. */
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

/** The stored form of a result or an error. */
export interface Payload {
  readonly format: PayloadFormat;
  readonly payload: string;
}

/** How a transaction ends once its work is done. */
export type TransactionOutcome =
  /** The work's writes commit together with the record. */
  | { readonly kind: "keep"; readonly record: StoredRecord }
  /** The work's writes are rolled back; the record commits. */
  | { readonly kind: "discard"; readonly record: StoredRecord }
  /** There was a live record already, and the work has written nothing. */
  | { readonly kind: "found"; readonly record: StoredRecord };

/**
 * The transaction did not run: another process runs one with this identity and took longer than the call would
 * wait, or a call with `effects: EXTERNAL` owns the key.
 */
export interface Running {
  readonly kind: "running";
}

/** How a transaction may wait and end. A store that serialises its transactions can ignore these. */
export interface WaitOptions {
  /** Longest wait for another process's transaction with the same identity, in milliseconds; 0 for none. */
  readonly waitMs: number;
  /** Whether the outcome may be `discard`, which a store may have to prepare for. */
  readonly mayDiscard: boolean;
}

/**
 * The port that every store implements.
 *
 * The promise that everything else rests on: a record and the writes made through `Transaction` become durable
 * in one atomic step, and of any number of concurrent transactions with one identity at most one finds no live
 * record.
 */
export interface Store<Transaction> {
  /** The clock of `createdAt` and `expiresAt`: milliseconds since the epoch. */
  readonly now: () => number;

  /**
   * The live record, read without waiting for any running transaction. A store may skip the look-up where it
   * costs more than it is likely to save, since `transaction` finds the record: `keyTime` helps to decide.
   *
   * @param keyTime when the key was made, in milliseconds since the epoch, if it tells (UUIDv7)
   */
  find(
    identity: RecordIdentity,
    keyTime?: number,
  ): StoredRecord | undefined | Promise<StoredRecord | undefined>;

  /**
   * Runs `work` in a transaction, telling it whether a live record exists, and carries out the outcome that it
   * returns. `work` does not run while a claim of the key is open.
   *
   * When the promise is fulfilled, record and writes are durable. When it is rejected with what `work` threw,
   * neither exists. When it is rejected with IDEMPOTENCY_STORE_UNAVAILABLE, a retry with the same key finds
   * out which.
   */
  transaction(
    identity: RecordIdentity,
    work: (transaction: Transaction, found: StoredRecord | undefined) => Promise<TransactionOutcome>,
    options: WaitOptions,
  ): Promise<TransactionOutcome | Running>;

  /** Runs `work` in a transaction without a record, with the same promises. */
  write<Result>(work: (transaction: Transaction) => Result | Promise<Result>): Promise<Result>;

  /** Deletes expired records, a few at a time, and returns their number. */
  purge(): Promise<number>;

  /**
   * Throws if the present code runs inside one of the store's own transactions, whose end another call would have
   * to wait for. A store whose transactions run side by side needs no such check.
   */
  refuseNesting?(): void;

  /** Whether the work of one transaction may run more than once, each time with the same arguments. @default false */
  readonly mayRerun?: boolean;

  /** What `effects: EXTERNAL` needs. A store may lack it. */
  readonly leases?: Leases<Transaction>;
}

/**
 * Claims on keys whose calls run outside any transaction. A claim holds until its lease ends, and may be
 * renewed. After that the next call takes over under a higher fencing token, and the earlier one can change
 * nothing any more.
 */
export interface Leases<Transaction> {
  /** Claims a key, durably, or says what prevents it. */
  claim(identity: RecordIdentity, request: ClaimRequest): Promise<Claim>;

  /**
   * Runs `work` in a transaction and carries out the change that it returns, together with its writes.
   * Returns false, without running it, when another call has taken over.
   */
  change(
    lease: Lease,
    work: (transaction: Transaction) => LeaseChange | Promise<LeaseChange>,
  ): Promise<boolean>;
}

/** What a call with `effects: EXTERNAL` asks for when it claims its key. */
export interface ClaimRequest {
  readonly fingerprint: string;
  /** Whether a stored fingerprint, perhaps of an older form, is one of the same arguments. */
  readonly matches: (stored: string) => boolean;
  readonly leaseMs: number;
  readonly retentionMs: number;
}

export interface Lease {
  readonly identity: RecordIdentity;
  /** Higher than that of every earlier claim of the key. */
  readonly fencingToken: number;
}

export type Claim =
  /** The call has a record already. */
  | { readonly kind: "found"; readonly record: StoredRecord }
  /** Another call holds the key, or an unfinished one claimed it for other arguments. */
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
