export {
  type Idempotency,
  type IdempotentOptions,
  idempotent,
  type TransactionContext,
} from "./directive.ts";
export { type ErrorAdvice, IdempotencyError, type IdempotencyErrorCode } from "./errors.ts";
export { type Concurrent, type ErrorPolicy, type Once, type OnceOptions, once } from "./once.ts";
export { collectOutcomes, type Outcome } from "./outcome.ts";
export type { PayloadOptions, PayloadType } from "./payload.ts";
export type { Retention } from "./retention.ts";
export { SHARED } from "./scope.ts";
export type { NewRecord, PayloadFormat, RecordIdentity, Store, StoredRecord, Verdict } from "./store.ts";
