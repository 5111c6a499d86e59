import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { IdempotencyError } from "graphql-idempotent";
import { type Bank, openBank, type Payment } from "./bank/bank.ts";
import { transfers } from "./bank/tables.ts";

/** What the package promises, in twenty lines: a map of records, and a count of effects. */
class Model {
  now = Date.UTC(2025, 0, 1);
  readonly records = new Map<string, { amount: number; result: string; expiresAt: number }>();
  readonly effects = new Map<string, number>();

  /** What a call must be answered, where only a first call's `result` is not known beforehand. */
  pay({ key, amount, course, retention }: Payment, result: string): string {
    const record = this.records.get(key);
    if (record && record.expiresAt > this.now) {
      return record.amount === amount ? record.result : "IDEMPOTENCY_KEY_PARAMETER_MISMATCH";
    }
    if (course === "broken") return `The payment ${key} was meant to break.`;
    if (course === "made") this.effects.set(key, (this.effects.get(key) ?? 0) + 1);
    const expiresAt = this.now + (retention === "30s" ? 30_000 : 86_400_000);
    this.records.set(key, { amount, result, expiresAt });
    return result;
  }
}

interface Real {
  readonly file: string;
  readonly now: () => number;
  bank: Bank;
}

type Command = fc.AsyncCommand<Model, Real>;

/** One call, or the same call by several clients at once. */
class Pay implements Command {
  readonly payment: Payment;
  readonly clients: number;

  constructor(payment: Payment, clients: number) {
    this.payment = payment;
    this.clients = clients;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, { bank }: Real): Promise<void> {
    const answers = await Promise.all(
      Array.from({ length: this.clients }, () => answerOf(bank, this.payment)),
    );
    for (const answer of answers) expectSame("answer", answer, model.pay(this.payment, answer));
    for (const [key, count] of model.effects) {
      const rows = bank.db.select({ key: transfers.key }).from(transfers).all();
      expectSame(`effects of ${key}`, rows.filter((row) => row.key === key).length, count);
    }
  }

  toString(): string {
    return `Pay(${JSON.stringify(this.payment)}, ${this.clients} clients)`;
  }
}

/** Calls with keys of their own, all at once: some of them fail beside others that do not. */
class PayTogether implements Command {
  readonly payments: readonly Payment[];

  constructor(payments: readonly Payment[]) {
    this.payments = payments;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, { bank }: Real): Promise<void> {
    const answers = await Promise.all(this.payments.map((payment) => answerOf(bank, payment)));
    for (const [index, payment] of this.payments.entries()) {
      const answer = answers[index] ?? "";
      expectSame("answer", answer, model.pay(payment, answer));
    }
  }

  toString(): string {
    return `PayTogether(${JSON.stringify(this.payments)})`;
  }
}

class PassTime implements Command {
  readonly ms: number;

  constructor(ms: number) {
    this.ms = ms;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model): Promise<void> {
    model.now += this.ms;
  }

  toString(): string {
    return `PassTime(${this.ms} ms)`;
  }
}

class Purge implements Command {
  check(): boolean {
    return true;
  }

  async run(_model: Model, { bank }: Real): Promise<void> {
    await bank.store.purge();
  }

  toString(): string {
    return "Purge";
  }
}

class Restart implements Command {
  check(): boolean {
    return true;
  }

  async run(_model: Model, real: Real): Promise<void> {
    await real.bank.close();
    real.bank = await openBank(real.file, { now: real.now });
  }

  toString(): string {
    return "Restart";
  }
}

const payment: fc.Arbitrary<Payment> = fc.record({
  key: fc.constantFrom("a", "b", "c"),
  amount: fc.constantFrom(1, 2),
  memo: fc.constant(""),
  retention: fc.constantFrom("30s", "24h"),
  course: fc.constantFrom("made", "made", "refused", "broken"),
});

const command = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(payment, fc.integer({ min: 1, max: 4 })).map((pay) => new Pay(...pay)) },
  {
    weight: 3,
    arbitrary: fc
      .uniqueArray(payment, { selector: ({ key }) => key, minLength: 2 })
      .map((payments) => new PayTogether(payments)),
  },
  { weight: 2, arbitrary: fc.constantFrom(1_000, 29_999, 30_000, 86_400_000).map((ms) => new PassTime(ms)) },
  { weight: 1, arbitrary: fc.constant(new Purge()) },
  { weight: 1, arbitrary: fc.constant(new Restart()) },
);

/**
 * Lives through random histories, and compares each answer and the effects with the model's. On a difference it
 * throws, with the shortest history that shows it, its seed and its path.
 */
export async function compareWithModel(options: {
  readonly histories: number;
  readonly seed: number;
  readonly onHistory?: () => void;
  /** What to compare; another bank than ours shows that a difference would be seen. @default openBank */
  readonly open?: typeof openBank;
}): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "torture-model-"));
  try {
    await fc.assert(
      fc.asyncProperty(fc.commands([command], { maxCommands: 25 }), async (commands) => {
        options.onHistory?.();
        const model = new Model();
        const now = () => model.now;
        const file = join(folder, `${randomUUID()}.db`);
        const real: Real = { file, now, bank: await (options.open ?? openBank)(file, { now }) };
        try {
          await fc.asyncModelRun(() => ({ model, real }), commands);
        } finally {
          await real.bank.close();
        }
      }),
      { numRuns: options.histories, seed: options.seed, includeErrorInReport: true },
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function answerOf(bank: Bank, asked: Payment): Promise<string> {
  try {
    return (await bank.pay(asked)).result;
  } catch (error) {
    if (error instanceof IdempotencyError) return error.code;
    return error instanceof Error ? error.message : String(error);
  }
}

function expectSame(what: string, received: unknown, expected: unknown): void {
  if (received === expected) return;
  throw new Error(`The ${what} should be ${expected}, but is ${received}.`);
}
