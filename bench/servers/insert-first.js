// The design that src/stores/postgres rejected, to be measured beside it: a call inserts an unfinished record first,
// for which a duplicate waits by ON CONFLICT, and completes it at the end. As many round trips, no advisory lock.
import { driverOf } from "../../dist/stores/postgres/drivers/index.js";
import { postgresStore } from "../../dist/stores/postgres/index.js";
import { columnNames, rowOf } from "../../dist/stores/postgres/rows.js";
import { Transactions } from "../../dist/stores/postgres/transactions.js";

export function insertFirstStore(db) {
  const { now, find } = postgresStore(db, { purgeEveryMs: 0 });
  const transactions = new Transactions(driverOf(db), {});

  function transaction({ scope, field, key }, work) {
    const identity = [key, field, scope].map(quote);
    const where = `"key" = ${identity[0]} AND field = ${identity[1]} AND scope = ${identity[2]}`;
    const time = now();
    return transactions.run({
      opening: `INSERT INTO idempotency_records (key, field, scope, fingerprint, format, payload, created_at, expires_at) VALUES (${identity.join(", ")}, '', 'json', '', ${time}, ${time + 60_000}) ON CONFLICT DO NOTHING RETURNING 1; SELECT ${columnNames.join(", ")} FROM idempotency_records WHERE ${where} AND payload <> ''`,
      async work(tx, { opened, runWork }) {
        const found = rowOf(opened.at(-1));
        const outcome = await runWork(() => work(tx, found));
        if (outcome.kind === "found") return { result: outcome, closing: "", undo: false };
        const { fingerprint, resourceId, format, payload, createdAt, expiresAt } = outcome.record;
        const closing = `UPDATE idempotency_records SET fingerprint = ${quote(fingerprint)}, resource_id = ${quote(resourceId)}, format = ${quote(format)}, payload = ${quote(payload)}, created_at = ${createdAt}, expires_at = ${expiresAt} WHERE ${where}`;
        return { result: outcome, closing, undo: false };
      },
    });
  }

  return { now, find, transaction };
}

/** Sufficient for the values of the bench, which contain no backslash. */
function quote(value) {
  return value === null ? "NULL" : `'${value.replaceAll("'", "''")}'`;
}
