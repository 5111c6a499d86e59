/** What a period of purging must be, for messages. */
export const purgePeriod = "0 or a number of milliseconds, at most 2147483647";

/** A timer runs a longer period after 1 ms. */
export function isPurgePeriod(value: unknown): boolean {
  return typeof value === "number" && value >= 0 && value <= 2_147_483_647;
}

/** Purges now and then, until `closing` is aborted, if it is given; the timer keeps no process alive. */
export function purgeRegularly(purge: () => Promise<number>, everyMs: number, closing?: AbortSignal): void {
  // A purge that fails is no call's concern; the next one finds the same records.
  const timer = setInterval(() => void purge().catch(() => {}), everyMs).unref();
  closing?.addEventListener("abort", () => clearInterval(timer), { once: true });
}
