export { type Database, type DatabaseOptions, openDatabase, type ReadonlyDatabase } from "./database.ts";
export { type SqliteStoreOptions, sqliteStore } from "./store.ts";
export { idempotencyRecords } from "./table.ts";
export type { DrizzleOptions, Transaction } from "./transaction.ts";
export type { WriterOptions } from "./writer.ts";
