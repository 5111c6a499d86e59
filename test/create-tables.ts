import Sqlite from "better-sqlite3";
import { generateSQLiteDrizzleJson, generateSQLiteMigration } from "drizzle-kit/api";

/** Makes a database file with the tables of a Drizzle schema, by the statements that drizzle-kit would write. */
export async function createTables(file: string, schema: Record<string, unknown>): Promise<void> {
  const nothing = await generateSQLiteDrizzleJson({});
  const statements = await generateSQLiteMigration(nothing, await generateSQLiteDrizzleJson(schema));
  const connection = new Sqlite(file);
  connection.exec(statements.join("\n"));
  connection.close();
}
