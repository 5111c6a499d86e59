export { partitionRecords } from "./partition-records.ts";
export { type PostgresStoreOptions, postgresStore } from "./store.ts";
export { idempotencyRecords } from "./table.ts";
export type { TransactionOptions } from "./transactions.ts";
