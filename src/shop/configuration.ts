import { fileURLToPath } from "node:url";

export interface Configuration {
  /** 0 means any free port. */
  readonly port: number;
  readonly database: DatabaseAddress;
  /** Whether the seeded customers have the publicly known demo tokens. */
  readonly hasDemoTokens: boolean;
}

export type DatabaseAddress =
  | { readonly kind: "sqlite"; readonly file: string }
  | { readonly kind: "postgres"; readonly url: string };

/** @throws {Error} that says in one line which variable is wrong and what it must be */
export function readConfiguration(environment: NodeJS.ProcessEnv): Configuration {
  return {
    port: readPort(environment.PORT || "4000"),
    database: readDatabaseAddress(environment.DATABASE_URL || "file:shop.db"),
    hasDemoTokens: environment.NODE_ENV !== "production",
  };
}

function readPort(port: string): number {
  if (/^\d{1,5}$/.test(port) && Number(port) <= 65_535) return Number(port);
  throw new Error(`PORT must be a whole number from 0 to 65535, but it is ${JSON.stringify(port)}.`);
}

function readDatabaseAddress(url: string): DatabaseAddress {
  if (/^postgres(ql)?:/i.test(url)) return { kind: "postgres", url: readPostgresUrl(url) };
  const file = fileOf(url);
  if (file) return { kind: "sqlite", file };
  throw new Error(
    `DATABASE_URL must be the URL of an SQLite file, such as file:shop.db or file:///var/lib/shop.db, or of a PostgreSQL database, such as ${exampleUrl}, but it is ${JSON.stringify(withoutPassword(url))}.`,
  );
}

const exampleUrl = "postgres://user:password@localhost:5432/shop";

/** The URL may hold a password, so the error doesn't repeat it. */
function readPostgresUrl(url: string): string {
  if (URL.canParse(url) && /^\/[^/]+$/.test(new URL(url).pathname)) return url;
  throw new Error(
    `DATABASE_URL must be a URL that ends with the name of a PostgreSQL database, such as ${exampleUrl}, but it is none. In a password, percent-encode what is neither a letter nor a digit.`,
  );
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/.*@/, "//…@");
}

/** `file:` with an absolute URL, or with a path that is relative to the working directory. */
function fileOf(url: string): string | undefined {
  if (!/^file:(?!:memory:)[^?#]*[^?#/]$/i.test(url)) return undefined;
  try {
    const path = url.slice("file:".length);
    return path.startsWith("//") ? fileURLToPath(url) : decodeURIComponent(path);
  } catch {
    return undefined; // a host, or a malformed percent-encoding
  }
}
