import { readFileSync } from "node:fs";
import { join } from "node:path";
import type Sqlite from "better-sqlite3";
import { type MigrationMeta, readMigrationFiles } from "drizzle-orm/migrator";
import { brokenForeignKeys, newlyBroken } from "./foreign-keys.ts";
import { foreignKeysOff, refusalOf } from "./migration-statements.ts";

/** A migration that can't be applied; the message is one line, with the name of its file. */
export class MigrationError extends Error {}

interface Migration extends MigrationMeta {
  readonly file: string;
}

/**
 * Applies the migrations that drizzle-kit generated, each once, also when several processes start at once: each
 * is a transaction of its own, which takes the write lock before it looks whether the migration is still to do.
 *
 * drizzle-kit rebuilds a table between `PRAGMA foreign_keys=OFF` and `ON`, which do nothing inside a transaction
 * (sqlite.org/pragma.html#pragma_foreign_keys): children would be deleted with the old table. So foreign keys are
 * off for the whole of such a migration, and it is refused if it leaves rows without their parents
 * (sqlite.org/lang_altertable.html, section 7).
 *
 * @param connection one for the migrations alone, since they may change its settings
 * @throws {MigrationError}
 */
export function migrate(connection: Sqlite.Database, migrationsFolder: string): void {
  const applied = lastApplied(connection);
  const pending = readMigrations(migrationsFolder).filter(({ folderMillis }) => folderMillis > applied);
  for (const { file, sql } of pending) {
    for (const statement of sql) {
      const refusal = refusalOf(statement);
      if (refusal) throw new MigrationError(`the migration ${file} has ${refusal}`);
    }
  }
  for (const migration of pending) apply(connection, migration);
}

function readMigrations(migrationsFolder: string): Migration[] {
  const migrations = readMigrationFiles({ migrationsFolder });
  const journal = JSON.parse(readFileSync(join(migrationsFolder, "meta/_journal.json"), "utf8"));
  return migrations.map((migration, index) => ({ ...migration, file: `${journal.entries[index].tag}.sql` }));
}

/** The time of the latest migration that was applied, by which Drizzle decides too; 0 if there is none. */
function lastApplied(connection: Sqlite.Database): number {
  const hasTable = connection
    .prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = '__drizzle_migrations'")
    .get();
  if (!hasTable) return 0;
  return Number(connection.prepare("SELECT max(created_at) FROM __drizzle_migrations").pluck().get());
}

function apply(connection: Sqlite.Database, migration: Migration): void {
  const isRebuild = migration.sql.some(foreignKeysOff);
  // Before the transaction, since inside one it does nothing.
  connection.pragma(`foreign_keys = ${isRebuild ? "OFF" : "ON"}`);
  connection.prepare("BEGIN IMMEDIATE").run();
  try {
    if (migration.folderMillis > lastApplied(connection)) {
      const before = isRebuild ? brokenForeignKeys(connection) : [];
      for (const statement of migration.sql) run(connection, statement);
      const [broken] = isRebuild ? newlyBroken(before, brokenForeignKeys(connection)) : [];
      if (broken)
        throw new Error(`it would leave ${broken.description}. Keep the parents, or remove these rows too`);
      record(connection, migration);
    }
    connection.prepare("COMMIT").run();
  } catch (cause) {
    if (connection.inTransaction) connection.prepare("ROLLBACK").run();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MigrationError(
      `the migration ${migration.file} can't be applied, and nothing of it was kept: ${reason.replaceAll(/\s*\n\s*/g, " ")}.`,
      { cause },
    );
  } finally {
    connection.pragma("foreign_keys = ON");
  }
}

/** Refuses several statements in one piece, of which only the first has been looked at. */
function run(connection: Sqlite.Database, sql: string): void {
  const statement = connection.prepare(sql);
  if (statement.reader) statement.all();
  else statement.run();
}

function record(connection: Sqlite.Database, { hash, folderMillis }: Migration): void {
  // The table as Drizzle's own migrator makes it.
  connection.exec(
    "CREATE TABLE IF NOT EXISTS __drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at numeric)",
  );
  connection
    .prepare("INSERT INTO __drizzle_migrations (hash, created_at) VALUES (?, ?)")
    .run(hash, folderMillis);
}
