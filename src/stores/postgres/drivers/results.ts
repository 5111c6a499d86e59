import type { RawRows } from "./driver.ts";

/** What a driver returns for one statement: node-postgres wraps the rows. */
type Result = RawRows | { readonly rows: RawRows };

/** The rows of one statement. */
export function rowsOf(result: unknown): RawRows {
  const rows = result as Result; // `as`: what the two drivers return
  return "rows" in rows ? rows.rows : rows;
}

/** The rows of each of several statements that were sent as one text. */
export function rowsOfEach(results: unknown): readonly RawRows[] {
  return (results as readonly unknown[]).map(rowsOf); // `as`: what the two drivers return for such a text
}
