// A deployment applies its configuration again at each restart. Its version is the key, so that the credits it grants
// are added only once. Different content under the same version is refused.
//
// npm run build && node examples/apply-configuration.mjs
import { fileURLToPath } from "node:url";
import { sql } from "drizzle-orm";
import { IdempotencyError, once, SHARED } from "graphql-idempotent";
import { openDatabase, sqliteStore } from "graphql-idempotent/sqlite";
import * as tables from "./tables.mjs";

const { accounts } = tables;
const database = openDatabase(undefined, {
  schema: tables,
  migrationsFolder: fileURLToPath(new URL("drizzle", import.meta.url)),
});
const store = sqliteStore(database);

async function apply({ version, ...settings }) {
  // A key that must never run again needs a retention that outlasts every deployment that may send it.
  const call = { scope: SHARED, field: "configuration", key: version, input: settings, retention: "3650d" };
  const { replayed } = await once(store, call, async (tx) => {
    for (const [owner, granted] of Object.entries(settings.grants)) {
      await tx
        .insert(accounts)
        .values({ owner, credits: granted })
        .onConflictDoUpdate({
          target: accounts.owner,
          set: { credits: sql`${accounts.credits} + ${granted}` },
        });
    }
  });
  console.log(`${version}: ${replayed ? "was applied before" : "applied"}`);
}

const january = { version: "2026-01", grants: { alice: 100, bob: 50 } };
await apply(january);
await apply(january);
await apply({ version: "2026-02", grants: { alice: 10 } });

try {
  await apply({ version: "2026-01", grants: { alice: 100, bob: 5000 } });
} catch (error) {
  if (!(error instanceof IdempotencyError)) throw error;
  console.log(`2026-01: ${error.code}`);
}

for (const { owner, credits } of await database.db.select().from(accounts)) {
  console.log(`${owner} has ${credits} credits`);
}
await database.close();
