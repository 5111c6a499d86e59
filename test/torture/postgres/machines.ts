import { setTimeout as sleep } from "node:timers/promises";
import type { Finding } from "../checks.ts";
import { endAll, endedByItself, Load, shopTarget } from "../kill.ts";
import { seeded } from "../random.ts";
import { examineBooks, readPostgresBooks } from "../shop/books.ts";
import { type ShopProcess, startShopOn } from "../shop/shop-process.ts";
import { openRoundRobin } from "./round-robin.ts";

export interface MachinesOptions {
  /** A new PostgreSQL database. */
  readonly databaseUrl: string;
  readonly kills: number;
  readonly seed: number;
  /** Requests in flight; on PostgreSQL, those for one product wait for each other. @default 16 */
  readonly clients?: number;
  readonly onKill?: () => unknown;
}

export interface MachinesReport {
  readonly kills: number;
  /** How often one was stopped, with whatever it held, until others had gone on. */
  readonly stops: number;
  readonly keys: number;
  readonly answers: number;
  readonly findings: readonly Finding[];
}

/**
 * Three shops on one PostgreSQL behind a round-robin, any of which is killed at any time and started again,
 * while each client retries its key, on whichever is next, until it is answered.
 */
export async function killMachines(options: MachinesOptions): Promise<MachinesReport> {
  const { databaseUrl, kills, seed, clients = 16, onKill } = options;
  const random = seeded(seed);
  const load = new Load({ ...shopTarget, client: { patienceMs: 150_000 } }, seeded(~seed));
  const machines = Array.from({ length: 3 }, () => new Machine(databaseUrl));
  const findings: Finding[] = [];
  let stops = 0;
  await using roundRobin = await openRoundRobin(() => machines.flatMap(({ port }) => port ?? []));

  /** Others must go on while one is stopped, once PostgreSQL has taken from it what it held. */
  async function stopOne(): Promise<void> {
    const machine = random.pick(machines);
    const moreAnswers = load.answersComeIn(random.between(1, 20)).then(() => true);
    await machine.signal("SIGSTOP");
    stops++;
    if (!(await Promise.race([moreAnswers, inAMinute()]))) {
      findings.push({ check: "stood still", detail: "one machine was stopped, and no other went on" });
    }
    await machine.signal("SIGCONT");
  }

  try {
    await Promise.all(machines.map(({ up }) => up));
    load.aimAt(roundRobin.url, clients);
    for (let kill = 0; kill < kills; kill++) {
      const [machine, answers, thenMs] = [
        random.pick(machines),
        random.between(0, 40),
        random.between(0, 20),
      ];
      await Promise.race([load.answersComeIn(answers), inAMinute()]);
      await sleep(thenMs);
      if (kill % 10 === 2) await stopOne();
      findings.push(...(await machine.kill()));
      await onKill?.();
    }
    const last = await Promise.all(machines.map(({ up }) => up));
    // A server that ends by itself can leave keys without an answer, which count as stuck.
    const end = Promise.race(last.map(({ ended }) => ended)).then(() => load.abandon());
    const { sent, answers } = await Promise.race([load.finish(), end]);
    findings.push(...(await endAll(last)));
    findings.push(...examineBooks(await readPostgresBooks(databaseUrl), sent, answers));
    return { kills, stops, keys: sent.length, answers: answers.length, findings };
  } finally {
    load.abandon();
    await Promise.all(machines.map((machine) => machine.signal("SIGKILL").catch(() => {})));
  }
}

function inAMinute(): Promise<undefined> {
  return sleep(60_000, undefined, { ref: false });
}

/** A shop that is started again whenever it was killed. */
class Machine {
  readonly #databaseUrl: string;
  /** Rejected with its log, when it could not start. */
  up: Promise<ShopProcess>;
  /** While it is up. */
  port: number | undefined;

  constructor(databaseUrl: string) {
    this.#databaseUrl = databaseUrl;
    this.up = this.#start();
  }

  async signal(name: NodeJS.Signals): Promise<void> {
    (await this.up).signal(name);
  }

  /** Kills it at once, or as soon as it is up. */
  async kill(): Promise<Finding[]> {
    const shop = await this.up;
    this.port = undefined;
    shop.signal("SIGKILL");
    const findings = await endedByItself(shop);
    this.up = this.#start();
    return findings;
  }

  #start(): Promise<ShopProcess> {
    const up = startShopOn(this.#databaseUrl).then((shop) => {
      this.port = shop.port;
      return shop;
    });
    up.catch(() => {}); // whoever needs it next is told
    return up;
  }
}
