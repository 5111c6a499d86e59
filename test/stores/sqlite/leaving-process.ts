// A process that has nothing left to do but leave: a slow call and its duplicates are over, the database is open.
import { once } from "graphql-idempotent";
import { sqliteStore } from "graphql-idempotent/sqlite";
import { openEntries } from "./entries-database.ts";

const tenMinutes = 600_000;
const { database } = await openEntries({ database: { deadlineMs: tenMinutes } });
const store = sqliteStore(database);
const call = { scope: "alice", field: "entries.add", key: "key", waitMs: tenMinutes };
const calls = Array.from({ length: 3 }, () =>
  once(store, call, () => new Promise((resolve) => setTimeout(resolve, 10))),
);
await Promise.all(calls);
