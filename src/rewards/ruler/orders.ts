/** In which order a judge sees the candidates, so that what it gives to a place cancels out. */
import { seededRandom } from '../../trajectory/random.ts';

/**
 * `count` orders of `size` candidates, from a seed. Each second one is the reverse of the one before: a bias that grows
 * in a straight line with the place is gone after two. After `size` of them (twice as many where `size` is odd) each
 * candidate has stood in each place equally often: any bias for places is gone. (A balanced Latin square: Williams, 1949.)
 */
export function balancedOrders(size: number, count: number, seed: number): number[][] {
  const base = shuffled(size, seed);
  const rows = latinRows(size);
  return Array.from({ length: count }, (_, index) => {
    const row = rows[index % rows.length] ?? [];
    return row.map((position) => base[position] ?? 0);
  });
}

/** 0 … size − 1, shuffled by seed (Fisher–Yates). */
function shuffled(size: number, seed: number): number[] {
  const random = seededRandom(seed);
  const order = Array.from({ length: size }, (_, index) => index);
  for (let at = size - 1; at > 0; at -= 1) {
    const other = Math.floor(random() * (at + 1));
    [order[at], order[other]] = [order[other] ?? 0, order[at] ?? 0];
  }
  return order;
}

function latinRows(size: number): number[][] {
  // 0, 1, n−1, 2, n−2, …: neighbours differ by every step once.
  const first = Array.from({ length: size }, (_, index) =>
    index % 2 === 1 ? (index + 1) / 2 : (size - index / 2) % size,
  );
  // Where the size is even, the rows of the second half are the first half's in reverse.
  const distinct = size % 2 === 0 ? size / 2 : size;
  return Array.from({ length: Math.max(1, distinct) }, (_, step) =>
    first.map((position) => (position + step) % size),
  ).flatMap((row) => [row, row.toReversed()]);
}
