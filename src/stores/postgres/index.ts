export { partitionRecords } from "./partitions.ts";
export { type PostgresStoreOptions, postgresStore } from "./store.ts";
export { idempotencyRecords } from "./table.ts";
export type { TransactionOptions } from "./transactions.ts";
