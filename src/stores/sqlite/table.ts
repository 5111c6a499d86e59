import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";

/**
 * The table of records. Re-export it from your Drizzle schema, and drizzle-kit writes its migration:
 * `export { idempotencyRecords } from "graphql-idempotent/sqlite"`.
 *
 * An ordinary rowid table: without one (WITHOUT ROWID), an insert takes twice as long, since whole rows then
 * move about in the order of random keys. Times are milliseconds since the epoch.
 */
export const idempotencyRecords = sqliteTable(
  "idempotency_records",
  {
    scope: text("scope").notNull(),
    field: text("field").notNull(),
    key: text("key").notNull(),
    fingerprint: text("fingerprint").notNull(),
    resourceId: text("resource_id"),
    format: text("format", { enum: ["json", "devalue", "error", "devalue-error"] }).notNull(),
    payload: text("payload").notNull(),
    createdAt: integer("created_at").notNull(),
    expiresAt: integer("expires_at").notNull(),
    /** Set while the row is a claim (`effects: EXTERNAL`), whose payload holds its finished steps. */
    leaseUntil: integer("lease_until"),
    fencingToken: integer("fencing_token"),
  },
  (table) => [
    // The key first: with time-ordered keys (UUIDv7) each insert goes to the end of this index, in every scope.
    primaryKey({ name: "idempotency_records_key", columns: [table.key, table.field, table.scope] }),
    index("idempotency_records_resource_id").on(table.resourceId),
    index("idempotency_records_expires_at").on(table.expiresAt),
  ],
);
