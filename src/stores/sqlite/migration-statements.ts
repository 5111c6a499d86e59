/** White space, semicolons and comments, as SQLite skips them before and within a statement. */
const gap = String.raw`(?:[\s;]|--[^\n]*(?:\n|$)|/\*[\s\S]*?(?:\*/|$))*`;
const name = String.raw`["'\x60\[]?(\w+)["'\x60\]]?`;

/** A pragma that is given a value: its name, and the value. */
const pragma = new RegExp(
  String.raw`^${gap}PRAGMA${gap}(?:["'\x60\[]?\w+["'\x60\]]?${gap}\.${gap})?${name}${gap}(?:=|\()${gap}["'\x60\[]?([\w-]+)`,
  "i",
);

const command = new RegExp(
  String.raw`^${gap}(VACUUM|ATTACH|DETACH|BEGIN|COMMIT|END|ROLLBACK|SAVEPOINT|RELEASE)\b`,
  "i",
);

/** Pragmas that do nothing inside a transaction, or that would take away what the guarantees rest on. */
const voidPragmas = new Set([
  "journal_mode",
  "synchronous",
  "locking_mode",
  "query_only",
  "auto_vacuum",
  "page_size",
  "encoding",
  "wal_checkpoint",
]);

/** Whether the statement switches foreign keys off. */
export function foreignKeysOff(statement: string): boolean {
  const [, setting = "", value = ""] = pragma.exec(statement) ?? [];
  return setting.toLowerCase() === "foreign_keys" && /^(?:off|no|false|0+)$/i.test(value);
}

/** Why a migration can't have this statement, or undefined if it can. */
export function refusalOf(statement: string): string | undefined {
  const [, word] = command.exec(statement) ?? [];
  if (word) return refused(word.toUpperCase());
  const [, setting = "", value = ""] = pragma.exec(statement) ?? [];
  const isVoid = voidPragmas.has(setting.toLowerCase());
  const isAsItIs = setting.toLowerCase() === "journal_mode" && value.toLowerCase() === "wal";
  return isVoid && !isAsItIs ? refused(`PRAGMA ${setting.toLowerCase()}`) : undefined;
}

function refused(what: string): string {
  return `${what}, which a migration can't do: it runs in a transaction of its own, on a file in WAL mode. Leave it out; settings of connections belong into openDatabase's configure().`;
}
