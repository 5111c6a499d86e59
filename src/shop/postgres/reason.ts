import { driverErrorOf } from "../driver-error.ts";

/** Explains in one line why a database can't be used: PostgreSQL's message and, where known, what to do. */
export function reasonOf(error: unknown): string {
  const cause = driverErrorOf(error);
  if (!(cause instanceof Error)) return String(cause);
  const { message } = cause;
  const code = "code" in cause ? String(cause.code) : "";
  if (code.startsWith("28")) return `${message}. Mend the user name or the password in DATABASE_URL.`;
  if (code === "3D000") return `${message}. Create it, or mend the name in DATABASE_URL.`;
  if (/^E[A-Z_]+$/.test(code)) {
    return `no server can be reached there (${code}). Start it, or mend the address in DATABASE_URL.`;
  }
  if (/timeout/i.test(message)) {
    return "the server there does not answer in time. Try again when it does, or mend the address in DATABASE_URL.";
  }
  if (message.includes("password must be a string")) {
    return "the server requires a password. Put it into DATABASE_URL: postgres://user:password@host/database.";
  }
  return message;
}
