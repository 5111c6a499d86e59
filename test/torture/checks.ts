import type Sqlite from "better-sqlite3";

/** Something that must never be. An attack ends well when it has none. */
export interface Finding {
  readonly check: string;
  readonly detail: string;
}

/** What a client was told, each time that it was told something, about a key. */
export interface Answer {
  readonly key: string;
  /** The whole result in one string, so that any difference between two answers shows. */
  readonly result: string;
}

/** A row that a call left behind, with the key of the call. */
export interface Effect {
  readonly key: string;
}

/** A key has had its effect more than once. */
export function duplicates(effects: readonly Effect[]): Finding[] {
  return [...countByKey(effects)]
    .filter(([, count]) => count > 1)
    .map(([key, count]) => ({ check: "duplicate", detail: `${key} took effect ${count} times` }));
}

/** A client has been given a result whose effect isn't there. */
export function lostAcknowledgements(answers: readonly Answer[], effects: readonly Effect[]): Finding[] {
  const present = keysOf(effects);
  return [...keysOf(answers)]
    .filter((key) => !present.has(key))
    .map((key) => ({ check: "lost acknowledgement", detail: `${key} was answered, but has no effect` }));
}

/** Record and effect commit in one step, so neither is ever there without the other. */
export function tornApart(records: readonly Effect[], effects: readonly Effect[]): Finding[] {
  const recorded = keysOf(records);
  const affected = keysOf(effects);
  return [
    ...[...recorded]
      .filter((key) => !affected.has(key))
      .map((key) => ({ check: "torn apart", detail: `${key} has a record and no effect` })),
    ...[...affected]
      .filter((key) => !recorded.has(key))
      .map((key) => ({ check: "torn apart", detail: `${key} has an effect and no record` })),
  ];
}

/** All answers about one key are the same answer. */
export function differingReplays(answers: readonly Answer[]): Finding[] {
  const first = new Map<string, string>();
  const findings: Finding[] = [];
  for (const { key, result } of answers) {
    const before = first.get(key) ?? result;
    first.set(key, before);
    if (result !== before) {
      findings.push({ check: "differing replay", detail: `${key}: first ${before}, then ${result}` });
    }
  }
  return findings;
}

/** A key that no retry brings to an end. */
export function stuckKeys(sent: readonly string[], answers: readonly Answer[]): Finding[] {
  const answered = keysOf(answers);
  return sent
    .filter((key) => !answered.has(key))
    .map((key) => ({ check: "stuck key", detail: `${key} was retried to the end and never answered` }));
}

export interface Movement {
  readonly from: string;
  readonly to: string;
  readonly amount: number;
}

/** Each balance is what the account opened with, plus and minus what the transfers say. */
export function imbalances(
  opening: ReadonlyMap<string, number>,
  balances: ReadonlyMap<string, number>,
  movements: readonly Movement[],
): Finding[] {
  const expected = new Map(opening);
  for (const { from, to, amount } of movements) {
    expected.set(from, (expected.get(from) ?? 0) - amount);
    expected.set(to, (expected.get(to) ?? 0) + amount);
  }
  return [...new Set([...expected.keys(), ...balances.keys()])]
    .filter((account) => expected.get(account) !== balances.get(account))
    .map((account) => ({
      check: "imbalance",
      detail: `${account} has ${balances.get(account)} and should have ${expected.get(account)}`,
    }));
}

/** A product's stock has fallen by what the orders took. */
export function stockGap(opening: number, stock: number, quantities: readonly number[]): Finding[] {
  const expected = opening - quantities.reduce((sum, quantity) => sum + quantity, 0);
  return stock === expected
    ? []
    : [{ check: "stock gap", detail: `the stock is ${stock} and should be ${expected}` }];
}

/** SQLite's own examination of the file. */
export function damage(connection: Sqlite.Database): Finding[] {
  // `as`: the rows of this pragma are texts in objects
  const faults = (connection.pragma("integrity_check") as { integrity_check: string }[])
    .map((row) => row.integrity_check)
    .filter((fault) => fault !== "ok");
  // `as`: any rows will do
  for (const row of connection.pragma("foreign_key_check") as unknown[]) faults.push(JSON.stringify(row));
  return faults.map((fault) => ({ check: "damage", detail: fault }));
}

/** A text that others can read, such as a log or an error, holds what it must not. */
export function leaks(text: string, secrets: readonly string[]): Finding[] {
  return secrets
    .filter((secret) => text.includes(secret))
    .map((secret) => ({
      check: "leak",
      detail: `${JSON.stringify(secret)} stands in ${JSON.stringify(around(text, secret))}`,
    }));
}

function around(text: string, secret: string): string {
  const at = text.indexOf(secret);
  return text.slice(Math.max(0, at - 60), at + secret.length + 60);
}

function keysOf(rows: readonly Effect[]): Set<string> {
  return new Set(rows.map(({ key }) => key));
}

function countByKey(rows: readonly Effect[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { key } of rows) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}
