/**
 * How far the votes rank the candidates alike: the mean of Kendall's tau-b (Kendall, 1945) over all pairs of votes, from
 * −1 (opposite) over 0 (unrelated) to 1 (the same); undefined where fewer than two votes tell candidates apart.
 */
export function agreement(votes: readonly (readonly number[])[]): number | undefined {
  const taus: number[] = [];
  for (const [index, one] of votes.entries()) {
    for (const other of votes.slice(index + 1)) {
      const tau = kendallTau(one, other);
      if (tau !== undefined) taus.push(tau);
    }
  }
  if (taus.length === 0) return undefined;
  return taus.reduce((sum, tau) => sum + tau, 0) / taus.length;
}

/** Kendall's tau-b of two lists of scores of the same things; undefined where all scores of one of them are equal. */
export function kendallTau(left: readonly number[], right: readonly number[]): number | undefined {
  let [together, leftPairs, rightPairs] = [0, 0, 0];
  for (let a = 0; a < left.length; a += 1) {
    for (let b = a + 1; b < left.length; b += 1) {
      const inLeft = Math.sign((left[a] ?? 0) - (left[b] ?? 0));
      const inRight = Math.sign((right[a] ?? 0) - (right[b] ?? 0));
      together += inLeft * inRight;
      leftPairs += Math.abs(inLeft);
      rightPairs += Math.abs(inRight);
    }
  }
  if (leftPairs === 0 || rightPairs === 0) return undefined;
  return together / Math.sqrt(leftPairs * rightPairs);
}
