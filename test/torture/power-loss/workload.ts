// A process that pays, and is watched by interpose.c: node --import tsx workload.ts DIRECTORY SEED SYNCHRONOUS
import { openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseOptions } from "graphql-idempotent/sqlite";
import { type Bank, openBank, type Payment } from "../bank/bank.ts";
import { clockOf, historyOf, type Line } from "./history.ts";

const [directory = "", seed = "", synchronous] = process.argv.slice(2);
const { rounds, maxBatch, walPages, cachePages } = historyOf(Number(seed));
const acknowledgements = openSync(join(directory, "acknowledgements"), "w");
let clock = clockOf(0);

/** It goes the same way as the changes of the database, so its place among them is certain. */
function acknowledge(line: Line): void {
  writeSync(acknowledgements, `${JSON.stringify(line)}\n`);
}

function open(): Promise<Bank> {
  return openBank(join(directory, "bank.db"), {
    synchronous: synchronous as NonNullable<DatabaseOptions<never>["synchronous"]>, // `as`: openDatabase checks it
    maxBatch,
    now: () => clock,
    configure: (connection) => {
      connection.pragma(`wal_autocheckpoint = ${walPages}`);
      connection.pragma(`cache_size = ${cachePages}`);
    },
  });
}

async function pay(bank: Bank, payment: Payment): Promise<void> {
  try {
    acknowledge(await bank.pay(payment));
  } catch (error) {
    if (payment.course !== "broken") throw error;
  }
}

let bank = await open();
for (const [number, { payments, afterwards }] of rounds.entries()) {
  clock = clockOf(number);
  acknowledge({ round: number });
  await Promise.all(payments.map((payment) => pay(bank, payment)));
  if (afterwards === "purge") await bank.store.purge();
  if (afterwards === "reopen") {
    await bank.close();
    bank = await open();
  }
}
await bank.close();
