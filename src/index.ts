export type { Concurrent, ErrorPolicy } from "./core/call.ts";
export type { ExternalCall } from "./core/lease.ts";
export { type Once, type OnceOptions, once, onceExternal } from "./core/once.ts";
export type { PayloadOptions, PayloadType } from "./core/payload.ts";
export type { Retention } from "./core/retention.ts";
export { SHARED } from "./core/scope.ts";
export { IdempotencyError } from "./errors.ts";
export { type Idempotency, type IdempotentOptions, idempotent } from "./graphql/directive.ts";
export { collectOutcomes } from "./graphql/outcome.ts";
export type { ExternalContext, TransactionContext } from "./graphql/protected-resolver.ts";
export type { ErrorAdvice, IdempotencyErrorCode, Outcome } from "./protocol.ts";
export type {
  Claim,
  ClaimRequest,
  Lease,
  LeaseChange,
  Leases,
  Payload,
  PayloadFormat,
  RecordIdentity,
  Running,
  Store,
  StoredRecord,
  TransactionOutcome,
  /** @deprecated Its name is `TransactionOutcome`. */
  TransactionOutcome as Verdict,
  WaitOptions,
} from "./stores/store.ts";
