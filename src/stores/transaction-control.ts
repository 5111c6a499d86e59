/** White space, semicolons and comments that may stand before a statement. */
const beforeStatement = String.raw`(?:[\s;]|--[^\n]*(?:\n|$)|/\*[\s\S]*?(?:\*/|$))*`;

/**
 * A store begins and ends the transaction of a call. A resolver that did so itself would separate its writes
 * from the record.
 *
 * @param statements how an engine's statements begin that would begin or end a transaction, as sources of
 *   regular expressions
 * @returns a function from the SQL of one statement to the reason why it is refused, or undefined if it may run
 */
export function transactionControl(statements: readonly string[]): (sql: string) => string | undefined {
  const control = new RegExp(`^${beforeStatement}(?:${statements.join("|")})\\b`, "i");

  return function refusalOf(sql) {
    if (!control.test(sql)) return undefined;
    return `Transactions begin and end by themselves here, so "${sql.trim().slice(0, 40)}" is refused. To undo part of a call's writes, use tx.transaction(); to undo all of them, throw.`;
  };
}
