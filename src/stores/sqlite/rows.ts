import type Sqlite from "better-sqlite3";
import { and, eq, getTableColumns, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/better-sqlite3";
import type { Row } from "../row.ts";
import type { RecordIdentity } from "../store.ts";
import { idempotencyRecords } from "./table.ts";

/** Reads and writes rows in whatever transaction the connection is in. What a row means is for `row.ts` to say. */
export interface Rows {
  read(identity: RecordIdentity): Row | undefined;
  /** @throws when there is a row */
  insert(row: Row): void;
  /** Writes the row, whether there is one or not. */
  put(row: Row): void;
}

export function rowsOf(connection: Sqlite.Database): Rows {
  const { scope, field, key } = idempotencyRecords;
  const db = drizzle(connection);
  const insert = db.insert(idempotencyRecords).values(placeholders);
  const inserted = insert.prepare();
  const put = insert.onConflictDoUpdate({ target: [key, field, scope], set: excluded }).prepare();

  return {
    read: rowReader(connection),
    insert: (row) => void inserted.run(row as object as Record<string, unknown>), // `as`: an interface has no index
    put: (row) => void put.run(row as object as Record<string, unknown>), // `as`: likewise
  };
}

/** Only reads, so it works on a connection that can't write. */
export function rowReader(connection: Sqlite.Database): Rows["read"] {
  const { scope, field, key, ...unknown } = columns;
  const select = drizzle(connection)
    .select(unknown) // without what the caller knows: each column costs a look-up its share
    .from(idempotencyRecords)
    .where(
      and(
        eq(scope, sql.placeholder("scope")),
        eq(field, sql.placeholder("field")),
        eq(key, sql.placeholder("key")),
      ),
    )
    .prepare();

  return function read({ scope, field, key }) {
    const found = select.get({ scope, field, key });
    if (!found) return undefined;
    const { fingerprint, resourceId, format, payload, createdAt, expiresAt, leaseUntil, fencingToken } =
      found;
    // Written out, not spread, which costs as much as the look-up itself.
    return {
      scope,
      field,
      key,
      fingerprint,
      resourceId,
      format,
      payload,
      createdAt,
      expiresAt,
      leaseUntil,
      fencingToken,
    };
  };
}

const columns = getTableColumns(idempotencyRecords);
const names = Object.keys(columns) as (keyof Row)[]; // `as`: an object's own names

// Bare, a placeholder would be wrapped with its column, which costs each insert more than SQLite's own part of it.
const placeholders = Object.fromEntries(
  names.map((name) => [name, sql`${sql.placeholder(name)}`]),
) as unknown as typeof idempotencyRecords.$inferInsert; // `as`: one for each name

const excluded = Object.fromEntries(names.map((name) => [name, sql.raw(`excluded."${columns[name].name}"`)]));
