/** Numbers that benchmarks report. */

/** The value below which a share `q` of `values` lies (nearest rank). */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const found = sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
  if (found === undefined) throw new RangeError('There are no values.');
  return found;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** To three places. */
export function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
