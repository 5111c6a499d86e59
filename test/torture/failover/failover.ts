import { setTimeout as sleep } from "node:timers/promises";
import type { Finding } from "../checks.ts";
import { endAll, Load, shopTarget } from "../kill.ts";
import { openRoundRobin } from "../postgres/round-robin.ts";
import { seeded } from "../random.ts";
import { examineBooks, readPostgresBooks } from "../shop/books.ts";
import { startShopOn } from "../shop/shop-process.ts";
import { type Cluster, startCluster } from "./cluster.ts";

/** How it comes that the standby takes the primary's place; all with the load going on. */
const courses = {
  /** The primary dies. */
  killed: (cluster) => cluster.killPrimary(),

  /** It has lost its standby before, so that its commits wait. */
  async alone(cluster, load) {
    cluster.cutReplication();
    await load.someAnswers();
    await cluster.killPrimary();
  },

  /** Meanwhile it starts anew, and shows what has never got to the standby. */
  async restarted(cluster, load) {
    cluster.cutReplication();
    await load.someAnswers();
    await cluster.restartPrimary();
    await load.someAnswers();
    await cluster.killPrimary();
  },

  /** Meanwhile its waits are cancelled, after which it answers, and shows, what has never got to the standby. */
  async cancelled(cluster, load) {
    cluster.cutReplication();
    for (let time = 0; time < 3; time++) {
      await load.someAnswers();
      await cluster.cancelWaits();
    }
    await load.someAnswers();
    await cluster.killPrimary();
  },

  /** It was only out of reach, and for a time both are there. */
  missed: (cluster, load) => cluster.missPrimary(load.someAnswers),
} satisfies Record<string, Course>;

type Course = (cluster: Cluster, load: { readonly someAnswers: () => Promise<void> }) => Promise<void>;

export type CourseName = keyof typeof courses;

export interface FailoverOptions {
  readonly failovers: number;
  readonly seed: number;
  /** Whether the primary waits for its standby. @default true */
  readonly isSynchronous?: boolean;
  /** Those to choose from. @default all of them */
  readonly only?: readonly CourseName[];
  /** Requests in flight; those for one product wait for each other. @default 16 */
  readonly clients?: number;
  readonly onFailover?: () => void;
}

export interface FailoverReport {
  readonly failovers: Readonly<Partial<Record<CourseName, number>>>;
  readonly keys: number;
  readonly answers: number;
  readonly findings: readonly Finding[];
}

/** The same load as {@link killUnderLoad}'s, on two shops whose database fails over, again and again. */
export async function failOverUnderLoad(options: FailoverOptions): Promise<FailoverReport> {
  const { failovers, seed, isSynchronous = true, clients = 16, onFailover } = options;
  const random = seeded(seed);
  // Most of the time there is no primary that answers: a key may have no luck for many failovers.
  const load = new Load({ ...shopTarget, client: { patienceMs: 300_000 } }, seeded(~seed));
  const counts: Partial<Record<CourseName, number>> = {};
  await using cluster = await startCluster(isSynchronous);
  const shops = [await startShopOn(cluster.url), await startShopOn(cluster.url)];
  await using roundRobin = await openRoundRobin(() => shops.map(({ port }) => port));
  try {
    load.aimAt(roundRobin.url, clients);
    // A primary that waits for its standby gives none.
    const someAnswers = () =>
      Promise.race([load.answersComeIn(20), sleep(isSynchronous ? 400 : 60_000, undefined, { ref: false })]);
    for (let failover = 0; failover < failovers; failover++) {
      const name = random.pick(options.only ?? (Object.keys(courses) as CourseName[])); // `as`: an object's own keys
      counts[name] = (counts[name] ?? 0) + 1;
      await Promise.race([
        load.answersComeIn(random.between(10, 60)),
        sleep(60_000, undefined, { ref: false }),
      ]);
      await sleep(random.between(0, 20));
      await courses[name](cluster, { someAnswers });
      await cluster.replaceStandby();
      onFailover?.();
    }
    const ends = shops.map(({ ended }) => ended.then(() => load.abandon()));
    const { sent, answers } = await Promise.race([load.finish(), ...ends]);
    // A shop whose database is away must be there when it is back, and end when it is told to.
    const findings = await endAll(shops);
    findings.push(...examineBooks(await readPostgresBooks(cluster.primaryUrl), sent, answers));
    return { failovers: counts, keys: sent.length, answers: answers.length, findings };
  } finally {
    load.abandon();
    for (const shop of shops) shop.signal("SIGKILL");
  }
}
