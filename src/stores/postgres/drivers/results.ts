import { UnreadableRow } from "../faults.ts";
import type { RawRows } from "./driver.ts";

/**
 * The rows of each of one or more statements. node-postgres has a result for each, which wraps its rows; those of
 * postgres.js are arrays, one for each with rows, or a single one.
 */
export function rowsOfEach(results: unknown): readonly RawRows[] {
  const isList = Array.isArray(results) && !("command" in results);
  return (isList ? results : [results]).map(rowsOf);
}

function rowsOf(result: unknown): RawRows {
  const rows = typeof result === "object" && result !== null && "rows" in result ? result.rows : result;
  if (!Array.isArray(rows)) throw new UnreadableRow("its result has no rows");
  return rows.map((row: unknown) => {
    if (typeof row !== "object" || row === null) throw new UnreadableRow(`it is of type ${typeof row}`);
    // Object.values: of an array too, which a `transform` may have copied to a plain object.
    return Object.values(row).map(textOf);
  });
}

function textOf(value: unknown): string | null {
  if (value === null || typeof value === "string") return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString("utf8");
  throw new UnreadableRow(`a value is of type ${typeof value}`);
}

/** @throws {UnreadableRow} if the row has no such column, or null or a value of another type in it */
export function textAt(row: RawRows[number], column: number): string {
  const value = row[column];
  if (typeof value === "string") return value;
  throw new UnreadableRow(
    `it has ${row.length} columns, and ${value === null ? "null" : "none"} as column ${column + 1}`,
  );
}

/** @throws {UnreadableRow} */
export function numberAt(row: RawRows[number], column: number): number {
  const text = textAt(row, column);
  const value = Number(text);
  if (/^-?\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new UnreadableRow(`column ${column + 1} is not an integer`);
}

/** Whether a boolean that was cast to text is true; null is not. @throws {UnreadableRow} */
export function booleanAt(row: RawRows[number], column: number): boolean {
  if (row[column] === null) return false;
  const text = textAt(row, column);
  if (text === "true" || text === "false") return text === "true";
  throw new UnreadableRow(`column ${column + 1} is not a boolean`);
}
