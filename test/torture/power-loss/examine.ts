import Sqlite from "better-sqlite3";
import { idempotencyRecords } from "graphql-idempotent/sqlite";
import { type Bank, openBank, openingBalances, type Payment } from "../bank/bank.ts";
import { accounts, transfers } from "../bank/tables.ts";
import {
  type Answer,
  damage,
  differingReplays,
  duplicates,
  type Finding,
  imbalances,
  lostAcknowledgements,
  stuckKeys,
  tornApart,
} from "../checks.ts";
import { clockOf, type Line, type Round } from "./history.ts";

/** What had happened by the time of the cut, as the world outside saw it. */
export interface Past {
  /** The round that ran; -1 before the first. */
  readonly round: number;
  /** Payments that had been sent, each once. */
  readonly sent: readonly Payment[];
  /** Answers that clients had been given. */
  readonly answers: readonly Answer[];
}

export function pastOf(acknowledgements: Buffer, rounds: readonly Round[]): Past {
  const lines = acknowledgements.toString().split("\n").slice(0, -1);
  const answers: Answer[] = [];
  let round = -1;
  for (const line of lines.map((text): Line => JSON.parse(text))) {
    if ("round" in line) round = line.round;
    else answers.push(line);
  }
  const sent = new Map(
    rounds
      .slice(0, round + 1)
      .flatMap(({ payments }) => payments)
      .map((payment) => [payment.key, payment]),
  );
  return { round, sent: [...sent.values()], answers };
}

/**
 * Opens the file that the power cut has left, as a restarted process would, and compares it with what clients
 * know; then every key is retried, and compared again.
 */
export async function examine(file: string, past: Past): Promise<Finding[]> {
  const bank = await openBank(file, { now: () => clockOf(past.round) });
  const connection = new Sqlite(file, { readonly: true });
  try {
    const found = [...books(bank, past), ...damage(connection)];
    // Records of a short retention may be gone, rightly, so their keys would run anew.
    const kept = past.sent.filter(({ retention }) => retention === "24h");
    const retried = await retryAll(bank, kept);
    const answers = [...past.answers, ...retried];
    const answerable = kept.filter(({ course }) => course !== "broken").map(({ key }) => key);
    return [
      ...found,
      ...differingReplays(answers),
      ...stuckKeys(answerable, retried),
      ...books(bank, { ...past, answers }),
    ];
  } finally {
    connection.close();
    await bank.close();
  }
}

function books({ db }: Bank, { sent, answers }: Past): Finding[] {
  const byKey = new Map(sent.map((payment) => [payment.key, payment]));
  const made = db.select().from(transfers).all();
  const records = db.select({ key: idempotencyRecords.key }).from(idempotencyRecords).all();
  const balances = new Map(
    db
      .select()
      .from(accounts)
      .all()
      .map(({ id, balance }) => [id, balance]),
  );
  const isMade = ({ key }: { key: string }) => byKey.get(key)?.course === "made";
  const isKept = ({ key }: { key: string }) => byKey.get(key)?.retention === "24h";
  return [
    ...duplicates(made),
    ...imbalances(openingBalances, balances, made),
    ...lostAcknowledgements(answers.filter(isMade), made),
    ...lostAcknowledgements(answers.filter(isKept), records),
    // What was refused or broke has no effect, so one that is there stands without a record here.
    ...tornApart(
      records.filter((record) => isKept(record) && isMade(record)),
      made.filter((transfer) => isKept(transfer) || !isMade(transfer)),
    ),
  ];
}

async function retryAll(bank: Bank, payments: readonly Payment[]): Promise<Answer[]> {
  const tries = await Promise.allSettled(payments.map((payment) => bank.pay(payment)));
  return tries.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
}
