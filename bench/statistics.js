/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return sorted.length % 2 ? sorted[Math.floor(middle)] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** @param {number[]} values */
export function spread(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/**
 * The proportion of two trials that were measured in turn, round by round: what slowed a round down slowed
 * both, so the proportions of rounds differ less than the figures do.
 */
export function proportion(samples, baseline, measure) {
  return spread(samples.map((sample, round) => measure(sample) / measure(baseline[round])));
}
