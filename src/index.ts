export type { Concurrent, ErrorPolicy } from "./call.ts";
export { type Idempotency, type IdempotentOptions, idempotent } from "./directive.ts";
export { type ErrorAdvice, IdempotencyError, type IdempotencyErrorCode } from "./errors.ts";
export type { ExternalCall } from "./lease.ts";
export { type Once, type OnceOptions, once, onceExternal } from "./once.ts";
export { collectOutcomes, type Outcome } from "./outcome.ts";
export type { PayloadOptions, PayloadType } from "./payload.ts";
export type { ExternalContext, TransactionContext } from "./protected-resolver.ts";
export type { Retention } from "./retention.ts";
export { SHARED } from "./scope.ts";
export type {
  Claim,
  Lease,
  LeaseChange,
  Leases,
  Payload,
  PayloadFormat,
  RecordIdentity,
  Store,
  StoredRecord,
  Verdict,
} from "./store.ts";
