/** How long a result is replayed: a whole number of seconds, minutes, hours or days. */
export type Retention = `${number}${"s" | "m" | "h" | "d"}`;

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** The milliseconds of a retention, or undefined when it isn't one, is zero or too long to be a date. */
export function retentionMs(retention: unknown): number | undefined {
  const parts = typeof retention === "string" ? /^(\d{1,9})([smhd])$/.exec(retention) : null;
  if (!parts) return undefined;
  const ms = Number(parts[1]) * unitMs[parts[2] as keyof typeof unitMs]; // `as`: the pattern names these four
  return ms > 0 && ms <= 36_500 * unitMs.d ? ms : undefined;
}

/** What a retention must look like, for messages. */
export const retentionForm =
  'a whole number and a unit, such as "30s", "15m", "24h" or "30d", of at most 36500d';
