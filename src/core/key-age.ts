import { IdempotencyError } from "../errors.ts";
import type { Call } from "./call.ts";

/**
 * A key that tells its age and is as old as the retention may have had a record that is gone by now.
 * Running the call again could repeat its effect.
 *
 * @throws {IdempotencyError} IDEMPOTENCY_KEY_EXPIRED
 */
export function refuseOldKey(call: Call, now: number): void {
  const { retentionMs } = call.rules;
  const madeAt = trustedKeyTime(call, now);
  if (madeAt === undefined || now - madeAt < retentionMs) return;
  throw new IdempotencyError(
    "IDEMPOTENCY_KEY_EXPIRED",
    `This idempotency key was made at ${new Date(madeAt).toISOString()}, and results are kept for ${retentionMs / 1000} seconds: whether the call ran before can't be told any more. Look for its effect; if there is none, make a new key.`,
    { key: call.key.sent },
  );
}

/**
 * How long a record of this call is kept. A key from a clock that runs ahead is accepted for that much longer,
 * so its record must last until the key is refused for its age.
 */
export function keptForMs(call: Call, now: number): number {
  return Math.max(0, (trustedKeyTime(call, now) ?? now) - now) + call.rules.retentionMs;
}

/** When the key was made. A key from more than one retention ahead tells nothing. */
function trustedKeyTime({ keyTime, rules }: Call, now: number): number | undefined {
  return keyTime === undefined || keyTime - now > rules.retentionMs ? undefined : keyTime;
}
