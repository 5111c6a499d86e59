import { bigint, index, pgTable, primaryKey, text } from "drizzle-orm/pg-core";

const columns = {
  scope: text("scope").notNull(),
  field: text("field").notNull(),
  key: text("key").notNull(),
  fingerprint: text("fingerprint").notNull(),
  resourceId: text("resource_id"),
  format: text("format", { enum: ["json", "devalue", "error", "devalue-error"] }).notNull(),
  payload: text("payload").notNull(),
  createdAt: bigint("created_at", { mode: "number" }).notNull(),
  expiresAt: bigint("expires_at", { mode: "number" }).notNull(),
  /** Set while the row is a claim (`effects: EXTERNAL`), whose payload holds the completed steps. */
  leaseUntil: bigint("lease_until", { mode: "number" }),
  fencingToken: bigint("fencing_token", { mode: "number" }),
};

/**
 * The table of records. Re-export it from your Drizzle schema, and drizzle-kit writes its migration:
 * `export { idempotencyRecords } from "graphql-idempotent/postgres"`.
 *
 * Times are milliseconds since the epoch, by the clock of the API server.
 */
export const idempotencyRecords = pgTable("idempotency_records", columns, (table) => [
  // The key first: with time-ordered keys (UUIDv7), inserts of all scopes append to the end of this index.
  primaryKey({ name: primaryKeyName, columns: [table.key, table.field, table.scope] }),
  index("idempotency_records_resource_id").on(table.resourceId),
  index("idempotency_records_expires_at").on(table.expiresAt),
]);

const primaryKeyName = "idempotency_records_key";

/** Whether a violated constraint is the primary key of the table or of a partition: two calls wrote one key. */
export function isPrimaryKey(constraint: unknown): boolean {
  return constraint === primaryKeyName || /^idempotency_records_\w+_pkey$/.test(String(constraint));
}
