export type { Concurrent, ErrorPolicy } from "./core/call.ts";
export type { ExternalCall } from "./core/lease.ts";
export { type Once, type OnceOptions, once, onceExternal } from "./core/once.ts";
export type { PayloadOptions, PayloadType } from "./core/payload.ts";
export type { Retention } from "./core/retention.ts";
export { SHARED } from "./core/scope.ts";
export { type ErrorAdvice, IdempotencyError, type IdempotencyErrorCode } from "./errors.ts";
export { type Idempotency, type IdempotentOptions, idempotent } from "./graphql/directive.ts";
export { collectOutcomes, type Outcome } from "./graphql/outcome.ts";
export type { ExternalContext, TransactionContext } from "./graphql/protected-resolver.ts";
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
} from "./stores/store.ts";
