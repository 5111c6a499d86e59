import Sqlite from "better-sqlite3";
import { sql } from "drizzle-orm";
import { idempotencyRecords, openDatabase, sqliteStore } from "graphql-idempotent/sqlite";
import type { Entries, StoreOptions } from "../store-suite/entries.ts";
import { storeSuite } from "../store-suite/index.ts";
import { entries, openEntries, type Tx, tables } from "./entries-database.ts";

storeSuite(open);

async function open(options: StoreOptions = {}): Promise<Entries<Tx>> {
  const opened = await openEntries({ store: options });
  const { database, clock } = opened;
  const others: ReturnType<typeof openAgain>[] = [];

  function openAgain() {
    return openDatabase(database.file, { schema: tables });
  }

  return {
    store: opened.store,
    clock,
    another: async () => {
      const other = openAgain();
      others.push(other);
      return sqliteStore(other, { now: () => clock.now, purgeEveryMs: 0 });
    },
    insert: async (tx, text) => tx.insert(entries).values({ text }).returning().get(),
    texts: async () => opened.texts(),
    records: async () => database.db.select().from(idempotencyRecords).orderBy(idempotencyRecords.key).all(),
    spoil: async () => {
      await database.write((tx) => tx.run(sql`UPDATE idempotency_records SET payload = '{'`));
    },
    hideRecords: async () => {
      const other = new Sqlite(database.file);
      other.exec("ALTER TABLE idempotency_records RENAME TO hidden");
      return async () => {
        other.exec("ALTER TABLE hidden RENAME TO idempotency_records");
        other.close();
      };
    },
    [Symbol.asyncDispose]: async () => {
      for (const other of others) await other.close();
      await opened[Symbol.asyncDispose]();
    },
  };
}
