/**
 * SQL that partitions the table of records by the time at the beginning of UUIDv7 keys. It is for a migration of
 * your own (`drizzle-kit generate --custom`), after the one that creates the table, and keeps the table's rows.
 * `postgresStore(db, { partitionMs })` then creates partitions ahead of time and drops those that are over.
 *
 * The range is that of the key, because PostgreSQL requires every primary key to include the partition columns.
 * So the primary key alone keeps keys unique across all partitions; partitions by `created_at` or `expires_at`
 * could hold the same key twice. Keys that are not UUIDv7 go to partitions of their own, whose records are
 * deleted row by row, as those of a plain table.
 */
export const partitionRecords = `\
ALTER TABLE idempotency_records RENAME TO idempotency_records_plain;
ALTER TABLE idempotency_records_plain DROP CONSTRAINT idempotency_records_key;
DROP INDEX idempotency_records_resource_id, idempotency_records_expires_at;
-- So that keys sort by their characters, whatever the database's locale.
ALTER TABLE idempotency_records_plain ALTER COLUMN key TYPE text COLLATE "C";
CREATE TABLE idempotency_records (LIKE idempotency_records_plain) PARTITION BY RANGE (key);
ALTER TABLE idempotency_records ADD CONSTRAINT idempotency_records_key PRIMARY KEY (key, field, scope);
CREATE INDEX idempotency_records_resource_id ON idempotency_records (resource_id);
CREATE INDEX idempotency_records_expires_at ON idempotency_records (expires_at);
-- UUIDv7 of 2004 to 2039 begin with 01.
CREATE TABLE idempotency_records_low PARTITION OF idempotency_records FOR VALUES FROM (MINVALUE) TO ('01');
CREATE TABLE idempotency_records_high PARTITION OF idempotency_records FOR VALUES FROM ('02') TO (MAXVALUE);
CREATE TABLE idempotency_records_rest PARTITION OF idempotency_records DEFAULT;
DO $$ BEGIN
  EXECUTE format(
    'CREATE TABLE idempotency_records_first PARTITION OF idempotency_records FOR VALUES FROM (''01'') TO (%L)',
    overlay(lpad(to_hex((floor(extract(epoch FROM now()) * 1000))::bigint), 12, '0') PLACING '-' FROM 9 FOR 0)
  );
END $$;
INSERT INTO idempotency_records SELECT * FROM idempotency_records_plain;
DROP TABLE idempotency_records_plain;
`;
