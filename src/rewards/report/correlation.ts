/** Rank correlation with its interval. Own code, because ties are the rule among rewards, and small libraries ignore them. */

export interface Correlation {
  /** Spearman's rho (1904), ties with mean ranks; within groups where there are any. */
  readonly rho: number;
  readonly n: number;
  /** 95 %, by Fisher's z with the variance of Bonett and Wright (2000). */
  readonly interval: readonly [low: number, high: number];
}

const z95 = 1.959963984540054;

/**
 * How `x` and `y` rise together within groups: each value is taken against its group's mean first, so that hard and easy
 * tasks do not pass for a relation. Groups of one say nothing; without any larger group, all are one. undefined below 5
 * values, or where one side is constant.
 */
export function rankCorrelation(
  points: readonly { readonly x: number; readonly y: number; readonly group: string | null }[],
): Correlation | undefined {
  const grouped = [...Map.groupBy(points, (point) => point.group ?? '')]
    .filter(([group, members]) => group !== '' && members.length > 1)
    .map(([, members]) => members);
  const groups = grouped.length === 0 ? [points] : grouped;
  const xs = groups.flatMap((members) => centred(members.map((one) => one.x)));
  const ys = groups.flatMap((members) => centred(members.map((one) => one.y)));
  // Each further group's mean takes a degree of freedom.
  const n = xs.length - (groups.length - 1);
  if (n < 5) return undefined;
  const rho = pearson(ranks(xs), ranks(ys));
  return rho === undefined ? undefined : { rho, n, interval: fisherInterval(rho, n) };
}

function fisherInterval(rho: number, n: number): readonly [number, number] {
  const bounded = Math.max(-0.999_999, Math.min(0.999_999, rho));
  const half = z95 * Math.sqrt((1 + bounded ** 2 / 2) / (n - 3));
  return [Math.tanh(Math.atanh(bounded) - half), Math.tanh(Math.atanh(bounded) + half)];
}

function centred(values: readonly number[]): number[] {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

/** From 1; equal values share the mean of their ranks. */
function ranks(values: readonly number[]): number[] {
  const order = values.map((value, index) => ({ value, index })).sort((a, b) => a.value - b.value);
  const given = new Array<number>(values.length).fill(0);
  let at = 0;
  while (at < order.length) {
    let end = at;
    // Centring leaves differences of rounding between values that are equal.
    while (end + 1 < order.length && (order[end + 1]?.value ?? 0) - (order[at]?.value ?? 0) < 1e-9) end += 1;
    for (let place = at; place <= end; place += 1) given[order[place]?.index ?? 0] = (at + end) / 2 + 1;
    at = end + 1;
  }
  return given;
}

function pearson(xs: readonly number[], ys: readonly number[]): number | undefined {
  const x = centred(xs);
  const y = centred(ys);
  const dot = (a: readonly number[], b: readonly number[]) =>
    a.reduce((sum, value, index) => sum + value * (b[index] ?? 0), 0);
  const scale = Math.sqrt(dot(x, x) * dot(y, y));
  return scale === 0 ? undefined : dot(x, y) / scale;
}
