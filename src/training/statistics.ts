/** Intervals for the figures that we report. */

/** The 0.975 quantile of the standard normal distribution. */
const z95 = 1.959963984540054;

export interface Proportion {
  readonly successes: number;
  readonly n: number;
  /** 95 % Wilson score interval (Wilson, 1927), both ends in [0, 1]. */
  readonly interval: readonly [low: number, high: number];
}

/** A share with its 95 % Wilson interval; `[0, 1]` where n is 0. */
export function proportion(successes: number, n: number): Proportion {
  if (n === 0) return { successes, n, interval: [0, 1] };
  const share = successes / n;
  const z2 = z95 * z95;
  const centre = (share + z2 / (2 * n)) / (1 + z2 / n);
  const half = (z95 / (1 + z2 / n)) * Math.sqrt((share * (1 - share)) / n + z2 / (4 * n * n));
  return { successes, n, interval: [Math.max(0, centre - half), Math.min(1, centre + half)] };
}

export interface Mean {
  readonly mean: number;
  readonly n: number;
  /** 95 % interval by the normal approximation; degenerate below two values. */
  readonly interval: readonly [low: number, high: number];
}

/** A mean with its 95 % interval, from the sample standard deviation. */
export function meanWithInterval(values: readonly number[]): Mean {
  const n = values.length;
  if (n === 0) return { mean: Number.NaN, n, interval: [Number.NaN, Number.NaN] };
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  if (n === 1) return { mean, n, interval: [mean, mean] };
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const half = z95 * Math.sqrt(variance / n);
  return { mean, n, interval: [mean - half, mean + half] };
}
