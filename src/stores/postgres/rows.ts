import { and, eq, getTableColumns, lte, type Placeholder, sql } from "drizzle-orm";
import type { Row } from "../row.ts";
import type { RecordIdentity } from "../store.ts";
import type { AnyDatabase } from "./database.ts";
import type { RawRows } from "./drivers/driver.ts";
import { numberAt, textAt } from "./drivers/results.ts";
import { statementText } from "./statement-text.ts";
import { idempotencyRecords } from "./table.ts";

const columns = getTableColumns(idempotencyRecords);
const names = Object.keys(columns) as (keyof Row)[]; // `as`: an object's own names

/** The columns of the table, in the order of a row's values. */
export const columnNames: readonly string[] = names.map((name) => columns[name].name);

/** The row that a statement returned, if it did. @throws {UnreadableRow} */
export function rowOf([values]: RawRows): Row | undefined {
  return values && readRow(values);
}

/** Reads a row by position. @throws {UnreadableRow} if a value is missing or of another type */
export function readRow(values: RawRows[number]): Row {
  const row: Record<string, unknown> = {};
  for (const [position, name] of names.entries()) {
    const { notNull, dataType } = columns[name];
    const isNull = values[position] === null && !notNull;
    const read = dataType === "number" ? numberAt : textAt;
    row[name] = isNull ? null : read(values, position);
  }
  return row as object as Row; // `as`: it has a value for each column
}

/** The statements on rows that are sent in one message with BEGIN or COMMIT, as Drizzle writes them. */
export function rowStatements(db: AnyDatabase) {
  const { key, field, scope, expiresAt } = idempotencyRecords;
  const isRow = and(
    eq(key, sql.placeholder("key")),
    eq(field, sql.placeholder("field")),
    eq(scope, sql.placeholder("scope")),
  );
  const select = db.select().from(idempotencyRecords).where(isRow);
  const placeholders = Object.fromEntries(names.map((name) => [name, sql.placeholder(name)]));
  const values = placeholders as Record<keyof Row, Placeholder>; // `as`: one for each name
  const insert = db.insert(idempotencyRecords).values(values);
  const deleteExpired = db
    .delete(idempotencyRecords)
    .where(and(isRow, lte(expiresAt, sql.placeholder("createdAt"))));
  const excluded = names.map((name) => [name, sql.raw(`excluded."${columns[name].name}"`)]);
  return {
    /** The row of an identity in any state: a record, a claim, or an expired one. */
    select: statementText<keyof RecordIdentity>(select),
    /** The same, locked until the transaction ends. */
    selectForUpdate: statementText<keyof RecordIdentity>(select.for("update")),
    /** Fails if there is a row. */
    insert: statementText<keyof Row>(insert),
    /** Deletes the row if it had expired at `createdAt`. */
    deleteExpired: statementText<keyof Row>(deleteExpired),
    /** Inserts the row, or replaces the one that is there. */
    put: statementText<keyof Row>(
      insert.onConflictDoUpdate({ target: [key, field, scope], set: Object.fromEntries(excluded) }),
    ),
  };
}

export type RowStatements = ReturnType<typeof rowStatements>;
