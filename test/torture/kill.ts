import { EventEmitter, once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Answer, Finding } from "./checks.ts";
import { canInterpose, interposed } from "./interpose/interpose.ts";
import { type Random, seeded } from "./random.ts";
import { examineShop } from "./shop/books.ts";
import { type Call, type ClientOptions, randomCall, retryUntilAnswered } from "./shop/client.ts";
import {
  type Ended,
  EndedEarly,
  type ShopProcess,
  type ShopProcessOptions,
  startShopProcess,
} from "./shop/shop-process.ts";

/** What is killed: the shop, or what it is compared with. */
export interface Target {
  start(options: ShopProcessOptions): Promise<ShopProcess>;
  call(number: number, random: Random): Call;
  examine(databaseFile: string, sent: readonly string[], answers: readonly Answer[]): Finding[];
  readonly client: Omit<ClientOptions, "url">;
  /** Whether half of the kills come at chosen changes of the file, and not at any time. */
  readonly hasChosenMoments: boolean;
}

export const shopTarget: Target = {
  start: startShopProcess,
  call: randomCall,
  examine: examineShop,
  client: {},
  hasChosenMoments: true,
};

export interface KillOptions {
  readonly kills: number;
  readonly seed: number;
  /** @default shopTarget */
  readonly target?: Target;
  /** Requests in flight. @default 32 */
  readonly clients?: number;
  readonly onKill?: () => void;
}

export interface KillReport {
  readonly kills: number;
  /** Those of them that came at a chosen change or lock of SQLite's; the others came at any time. */
  readonly chosen: number;
  readonly keys: number;
  readonly answers: number;
  readonly findings: readonly Finding[];
}

/** Kills a server under load, again and again, while each client retries its key until it is answered. */
export async function killUnderLoad(options: KillOptions): Promise<KillReport> {
  const { kills, seed, clients = 32, target = shopTarget, onKill } = options;
  const folder = mkdtempSync(join(tmpdir(), "torture-kill-"));
  const databaseFile = join(folder, "shop.db");
  // The load has chance of its own: how much of it is used up depends on time, and the kills must not.
  const random = seeded(seed);
  const load = new Load(target, seeded(~seed));
  const canChoose = target.hasChosenMoments && canInterpose();
  const findings: Finding[] = [];
  let chosen = 0;
  try {
    for (let kill = 0; kill < kills; kill++) {
      const isChosen = canChoose && random.percent(50);
      const env = isChosen ? chosenMoment(folder, kill, random) : {};
      // At any time: after so many more answers, a few milliseconds into whatever comes next.
      const [answers, thenMs] = isChosen ? [Infinity, 0] : [random.between(0, 100), random.between(0, 20)];
      const server = await startOrDie(target, { databaseFile, env });
      if (server) {
        load.aimAt(server.url, clients);
        const hangs = sleep(60_000, undefined, { ref: false });
        await Promise.race([server.ended, load.answersComeIn(answers), hangs]);
        await sleep(thenMs);
      }
      if (!server?.signal("SIGKILL")) chosen++;
      load.holdRetries();
      if (server) findings.push(...(await endedByItself(server)));
      onKill?.();
    }
    const last = await target.start({ databaseFile });
    load.aimAt(last.url, clients);
    // A server that ends by itself leaves keys without an answer, which count as stuck.
    const { sent, answers } = await Promise.race([load.finish(), last.ended.then(() => load.abandon())]);
    last.signal("SIGTERM");
    await last.ended;
    findings.push(...target.examine(databaseFile, sent, answers));
    return { kills, chosen, keys: sent.length, answers: answers.length, findings };
  } finally {
    load.abandon();
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * SQLite's n-th change or lock since the process began: the first starts make the file and its tables, later
 * ones come under load.
 */
function chosenMoment(folder: string, kill: number, random: Random): NodeJS.ProcessEnv {
  const killAt = kill < 5 ? random.between(1, 120) : random.between(40, 1_500);
  return interposed({ watch: folder, killAt, killLate: random.percent(50) });
}

/** Undefined when the chosen moment came before the server was open. */
async function startOrDie(target: Target, options: ShopProcessOptions): Promise<ShopProcess | undefined> {
  try {
    return await target.start(options);
  } catch (error) {
    if (error instanceof EndedEarly && error.ended.signal === "SIGKILL") return undefined;
    throw error;
  }
}

/** A server that ends otherwise than by a kill has a fault of its own. */
export async function endedByItself(server: ShopProcess): Promise<Finding[]> {
  const ended = await server.ended;
  return ended.signal === "SIGKILL" ? [] : [endOf(server, ended)];
}

/** Servers must end well when they are told to. */
export async function endAll(servers: readonly ShopProcess[]): Promise<Finding[]> {
  for (const server of servers) server.signal("SIGTERM");
  const findings: Finding[] = [];
  for (const server of servers) {
    const ended = await server.ended;
    if (ended.code !== 0) findings.push(endOf(server, ended));
  }
  return findings;
}

function endOf(server: ShopProcess, { code, signal }: Ended): Finding {
  const detail = `with ${signal ?? `exit code ${code}`}: ${server.log().slice(-500)}`;
  return { check: "ended by itself", detail };
}

/** The keys that were sent, and what clients have been told about them. */
interface Told {
  readonly sent: readonly string[];
  readonly answers: readonly Answer[];
}

/** So many clients at once, each of which sends one call after the other until it is answered. */
export class Load {
  readonly #target: Target;
  readonly #random: Random;
  readonly #sent: string[] = [];
  readonly #answered: Call[] = [];
  readonly #answers: Answer[] = [];
  #url: string | undefined;
  readonly #aimed = new EventEmitter().setMaxListeners(0);
  #isOver = false;
  #awaited: { readonly count: number; resolve(): void } | undefined;
  readonly #abandoned = new AbortController();
  #clients: Promise<unknown> | undefined;

  constructor(target: Target, random: Random) {
    this.#target = target;
    this.#random = random;
  }

  /** Where the server is from now on. The first time, the clients begin. */
  aimAt(url: string, clients: number): void {
    this.#url = url;
    this.#aimed.emit("url", url);
    this.#clients ??= Promise.all(Array.from({ length: clients }, () => this.#callAndRetry()));
  }

  /** Until there is another server, retries could only fail, and would take time away from its start. */
  holdRetries(): void {
    this.#url = undefined;
  }

  /** Fulfilled when there have been so many more answers. */
  answersComeIn(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#awaited = { count: this.#answers.length + count, resolve };
    });
  }

  /** Sends nothing new, and is fulfilled when every key has been answered or given up. */
  async finish(): Promise<Told> {
    this.#isOver = true;
    await this.#clients;
    return { sent: this.#sent, answers: this.#answers };
  }

  /** Gives up whatever has not been answered. */
  abandon(): Told {
    this.#isOver = true;
    this.#abandoned.abort();
    this.#aimed.emit("url", "");
    return { sent: this.#sent, answers: this.#answers };
  }

  async #callAndRetry(): Promise<void> {
    while (!this.#isOver) {
      // Some clients ask again for what they have been told already, long after.
      const asksAgain = this.#answered.length > 0 && this.#random.percent(20);
      const call = asksAgain ? this.#random.pick(this.#answered) : this.#next();
      const answer = await retryUntilAnswered(call, {
        ...this.#target.client,
        url: () => this.#place(),
        signal: this.#abandoned.signal,
      });
      if (!answer) continue;
      this.#answers.push(answer);
      this.#answered.push(call);
      if (this.#awaited && this.#answers.length >= this.#awaited.count) this.#awaited.resolve();
    }
  }

  async #place(): Promise<string> {
    if (this.#url) return this.#url;
    const [url] = await once(this.#aimed, "url");
    return url;
  }

  #next(): Call {
    const call = this.#target.call(this.#sent.length + 1, this.#random);
    this.#sent.push(call.key);
    return call;
  }
}
