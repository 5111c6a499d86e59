import { and, eq, getTableColumns, lte, type Placeholder, sql } from "drizzle-orm";
import type { RecordIdentity } from "../store.ts";
import type { AnyDatabase, RawRows } from "./drivers/driver.ts";
import { statementOf } from "./statement.ts";
import { idempotencyRecords, type Row } from "./table.ts";

const columns = getTableColumns(idempotencyRecords);
const names = Object.keys(columns) as (keyof Row)[]; // `as`: an object's own names

/** The row as Drizzle's own select() would return it. */
export function rowOf([raw]: RawRows): Row | undefined {
  if (raw === undefined) return undefined;
  const row: Record<string, unknown> = {};
  for (const name of names) {
    const value = raw[columns[name].name];
    row[name] = value === null ? null : columns[name].mapFromDriverValue(value as never); // `as`: that column's value
  }
  return row as Row; // `as`: it has a value for each column
}

/** The statements on rows that share a message with BEGIN or COMMIT, as Drizzle writes them. */
export function rowStatements(db: AnyDatabase) {
  const { key, field, scope, expiresAt } = idempotencyRecords;
  const isRow = and(
    eq(key, sql.placeholder("key")),
    eq(field, sql.placeholder("field")),
    eq(scope, sql.placeholder("scope")),
  );
  const select = db.select().from(idempotencyRecords).where(isRow);
  const insert = db
    .insert(idempotencyRecords)
    // `as`: one for each name
    .values(
      Object.fromEntries(names.map((name) => [name, sql.placeholder(name)])) as Record<
        keyof Row,
        Placeholder
      >,
    );
  const deleteExpired = db
    .delete(idempotencyRecords)
    .where(and(isRow, lte(expiresAt, sql.placeholder("createdAt"))));
  const excluded = names.map((name) => [name, sql.raw(`excluded."${columns[name].name}"`)]);
  return {
    /** The row of an identity, whatever it is: a record, one that has expired, or a claim. */
    select: statementOf<keyof RecordIdentity>(select),
    /** The same, held against others until the transaction ends. */
    selectForUpdate: statementOf<keyof RecordIdentity>(select.for("update")),
    /** Fails when there is a row. */
    insert: statementOf<keyof Row>(insert),
    /** Removes the row if it had expired when `createdAt` was. */
    deleteExpired: statementOf<keyof Row>(deleteExpired),
    /** Writes the row, whether there is one or not. */
    put: statementOf<keyof Row>(
      insert.onConflictDoUpdate({ target: [key, field, scope], set: Object.fromEntries(excluded) }),
    ),
  };
}

export type RowStatements = ReturnType<typeof rowStatements>;
