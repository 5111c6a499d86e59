import type Sqlite from "better-sqlite3";

/** A row without its parent, or a foreign key that can't be checked. */
export interface BrokenForeignKey {
  readonly table: string;
  readonly rowid: unknown;
  readonly parent: string;
  readonly description: string;
}

/** All rows without their parents (sqlite.org/pragma.html#pragma_foreign_key_check). */
export function brokenForeignKeys(connection: Sqlite.Database): BrokenForeignKey[] {
  const tables = connection
    .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    .pluck()
    .all() as string[]; // `as`: the names of tables
  return tables.flatMap((table) => brokenIn(connection, table));
}

function brokenIn(connection: Sqlite.Database, table: string): BrokenForeignKey[] {
  try {
    const rows = connection
      .prepare(`PRAGMA foreign_key_check(${quoted(table)})`)
      .raw()
      .all();
    // `as`: the four columns of the pragma
    return (rows as [string, unknown, string, number][]).map(([, rowid, parent]) => ({
      table,
      rowid,
      parent,
      description: `${rowid === null ? "a row" : `row ${rowid}`} of ${table} without its parent in ${parent}`,
    }));
  } catch (error) {
    // "foreign key mismatch": the parent's columns are no key.
    const reason = error instanceof Error ? error.message : String(error);
    return [{ table, rowid: null, parent: reason, description: `${table} with a ${reason}` }];
  }
}

/**
 * What a migration has broken. Rows may have got other IDs and tables other names, so keys that were broken before
 * are known by their number for each parent, not by their place.
 */
export function newlyBroken(
  before: readonly BrokenForeignKey[],
  after: readonly BrokenForeignKey[],
): BrokenForeignKey[] {
  const isKnown = new Set(before.map(placeOf));
  return [...new Set(after.map(({ parent }) => parent))].flatMap((parent) => {
    const [had, has] = [before, after].map((keys) => keys.filter((key) => key.parent === parent));
    if (!had || !has || has.length <= had.length) return [];
    return has.filter((key) => !isKnown.has(placeOf(key)));
  });
}

function placeOf({ table, rowid, parent }: BrokenForeignKey): string {
  return JSON.stringify([table, String(rowid), parent]);
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
