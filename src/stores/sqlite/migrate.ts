import type Sqlite from "better-sqlite3";
import { drizzle } from "drizzle-orm/better-sqlite3";
import { migrate as drizzleMigrate } from "drizzle-orm/better-sqlite3/migrator";

/**
 * Applies the migrations that drizzle-kit generated, each once, also when several processes start at once.
 * Drizzle reads which migrations are done before it begins its transaction, so two processes could both run
 * one; here the write lock is taken first, and Drizzle's own transaction becomes a savepoint within it.
 */
export function migrate(connection: Sqlite.Database, migrationsFolder: string): void {
  const savepoint = new Map([
    ["BEGIN", "SAVEPOINT migrations"],
    ["COMMIT", "RELEASE migrations"],
    ["ROLLBACK", "ROLLBACK TO migrations"],
  ]);
  const client = { prepare: (sql: string) => connection.prepare(savepoint.get(sql) ?? sql) };
  connection
    .transaction(() => {
      // `as`: all that Drizzle's migrator calls is `prepare`
      drizzleMigrate(drizzle(client as unknown as Sqlite.Database), { migrationsFolder });
    })
    .immediate();
}
