import type { Payment } from "../bank/bank.ts";
import { type Random, seeded } from "../random.ts";

/** Payments that are made at once, and what happens after them. */
export interface Round {
  readonly payments: readonly Payment[];
  readonly afterwards: "nothing" | "purge" | "reopen";
}

/** A line of the acknowledgement file: a round begins, or a client is told an answer. */
export type Line = { readonly round: number } | { readonly key: string; readonly result: string };

interface History {
  readonly rounds: readonly Round[];
  readonly maxBatch: number;
  /** A short log is checkpointed and begun anew often. */
  readonly walPages: number;
  /** A small cache spills pages in mid-transaction. */
  readonly cachePages: number;
}

/** What happens in one run, as its seed has it. The workload lives through it, and the checks know it. */
export function historyOf(seed: number): History {
  const random = seeded(seed);
  const rounds: Round[] = [];
  const past: Payment[] = [];
  for (let number = random.between(8, 16); number > 0; number--) {
    const payments = Array.from({ length: random.between(1, 12) }, () => {
      // A retry after the retention would be a first call, and run again.
      const retriable = past.filter(({ retention }) => retention === "24h");
      return retriable.length > 0 && random.percent(20) ? random.pick(retriable) : newPayment(past, random);
    });
    rounds.push({
      payments,
      afterwards: random.pick(["nothing", "nothing", "nothing", "purge", "reopen"] as const),
    });
  }
  return {
    rounds,
    maxBatch: random.pick([1, 3, 256]),
    walPages: random.between(4, 80),
    cachePages: random.pick([10, 100, 2_000]),
  };
}

function newPayment(past: Payment[], random: Random): Payment {
  const number = past.length + 1;
  const payment: Payment = {
    key: `payment-${number}`,
    amount: number,
    memo: "m".repeat(random.percent(15) ? random.between(1_000, 9_000) : random.between(0, 60)),
    retention: random.percent(20) ? "30s" : "24h",
    course: random.pick(["made", "made", "made", "made", "made", "made", "refused", "broken"] as const),
  };
  past.push(payment);
  return payment;
}

/** The clock of a round: short retentions are over after two more. */
export function clockOf(round: number): number {
  return Date.UTC(2025, 0, 1) + round * 20_000;
}
