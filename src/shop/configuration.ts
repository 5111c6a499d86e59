import { fileURLToPath } from "node:url";

export interface Configuration {
  /** 0 stands for any free port. */
  readonly port: number;
  readonly databaseFile: string;
  /** Whether the seeded customers can be used with tokens that everybody knows. */
  readonly hasDemoTokens: boolean;
}

/** @throws {Error} that says in one line which variable is wrong, and how it should be */
export function readConfiguration(environment: NodeJS.ProcessEnv): Configuration {
  return {
    port: readPort(environment.PORT || "4000"),
    databaseFile: readDatabaseFile(environment.DATABASE_URL || "file:shop.db"),
    hasDemoTokens: environment.NODE_ENV !== "production",
  };
}

function readPort(port: string): number {
  if (/^\d{1,5}$/.test(port) && Number(port) <= 65_535) return Number(port);
  throw new Error(`PORT must be a whole number from 0 to 65535, but it is ${JSON.stringify(port)}.`);
}

function readDatabaseFile(url: string): string {
  if (/^postgres(ql)?:/i.test(url)) {
    // The URL may hold a password, so it is not repeated.
    throw new Error(
      "DATABASE_URL names a PostgreSQL database, which the shop does not support yet. Name an SQLite file, such as file:shop.db.",
    );
  }
  const file = fileOf(url);
  if (file) return file;
  throw new Error(
    `DATABASE_URL must be the URL of an SQLite file, such as file:shop.db or file:///var/lib/shop.db, but it is ${JSON.stringify(url)}.`,
  );
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
