import { is, Param, Placeholder, type Query } from "drizzle-orm";

/** A value as it is written in the text of a statement. */
export type Value = string | number | null;

/**
 * Turns a Drizzle query into a function from the values of its placeholders to the text of one statement.
 *
 * Only statements without parameters can share a message, and so a round trip, with BEGIN and COMMIT
 * (postgresql.org/docs/current/protocol-flow.html, "Multiple Statements in a Simple Query"): hence the values
 * in the text. Drizzle's own inlining relies on standard_conforming_strings; see {@link literal}.
 */
export function statementText<Name extends string>(query: {
  toSQL(): Query;
}): (values: Readonly<Record<Name, Value>>) => string {
  const { sql, params } = query.toSQL();
  const names = params.map(nameOf);
  // Text and numbers of parameters alternate: "… where key = ", "1", " and …".
  const pieces = sql.split(/\$(\d+)/);
  return (values) => {
    let text = "";
    for (let index = 0; index < pieces.length; index += 2) {
      text += pieces[index];
      const number = pieces[index + 1];
      if (number !== undefined) text += literal(values[names[Number(number) - 1] as Name]); // `as`: see nameOf()
    }
    return text;
  };
}

function nameOf(parameter: unknown): string {
  const value = is(parameter, Param) ? parameter.value : parameter;
  if (is(value, Placeholder)) return value.name;
  throw new TypeError(`Each value of this query must be a placeholder, but one is ${String(value)}.`);
}

/**
 * Quotes a value as libpq's PQescapeLiteral does, which is right whether or not the server treats backslashes in
 * '…' as escapes.
 */
export function literal(value: Value): string {
  if (value === null) return "NULL";
  if (typeof value === "number") return String(value);
  refuseNul(value);
  const quoted = value.replaceAll("'", "''");
  return quoted.includes("\\") ? ` E'${quoted.replaceAll("\\", "\\\\")}'` : `'${quoted}'`;
}

/** @throws {TypeError} for NUL, the only character that PostgreSQL's text can't hold */
export function refuseNul(value: string): void {
  if (!value.includes("\0")) return;
  throw new TypeError(
    `PostgreSQL can't keep the character NUL, but a scope or a resource's ID has one: ${JSON.stringify(value)}.`,
  );
}
