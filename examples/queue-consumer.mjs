// An at-least-once queue delivers some messages twice. Here, one message is delivered again after it was consumed, and
// another is delivered twice at the same time. Each is booked once.
//
// npm run build && node examples/queue-consumer.mjs
import { fileURLToPath } from "node:url";
import { eq, sql } from "drizzle-orm";
import { once, SHARED } from "graphql-idempotent";
import { openDatabase, sqliteStore } from "graphql-idempotent/sqlite";
import * as tables from "./tables.mjs";

const { accounts } = tables;
const database = openDatabase(undefined, {
  schema: tables,
  migrationsFolder: fileURLToPath(new URL("drizzle", import.meta.url)),
});
const store = sqliteStore(database);

async function consume({ id, body }) {
  const call = { scope: SHARED, field: "payments.received", key: id, input: body, retention: "7d" };
  const { result, replayed } = await once(store, call, async (tx) => {
    const credits = sql`${accounts.credits} + ${body.amount}`;
    const [account] = await tx
      .update(accounts)
      .set({ credits })
      .where(eq(accounts.owner, body.owner))
      .returning();
    return { credits: account.credits };
  });
  // Acknowledge the message to the queue only here, after the booking is on disk.
  console.log(`${id}: ${replayed ? "had been booked" : "booked"}, credits were ${result.credits} then`);
}

await database.write((tx) => tx.insert(accounts).values({ owner: "alice", credits: 0 }));

const first = { id: "message-1", body: { owner: "alice", amount: 500 } };
await consume(first);
await consume(first);

const second = { id: "message-2", body: { owner: "alice", amount: 30 } };
await Promise.all([consume(second), consume(second)]);

const { credits } = await database.db.select().from(accounts).get();
console.log(`alice has ${credits} credits`);
await database.close();
