/** What the report says of one reward. */
import type { Reward } from '../../trajectory/records.ts';
import type { Correlation } from './correlation.ts';
import type { Features } from './features.ts';

export interface ComponentReport {
  readonly name: string;
  readonly source: Reward['source']['type'];
  /** Trajectories that have it, and those that have not. Missing is not 0: it is in none of the figures. */
  readonly n: number;
  readonly missing: number;
  readonly mean: number;
  readonly standardDeviation: number;
  readonly quantiles: Readonly<Record<'min' | 'p25' | 'median' | 'p75' | 'max', number>>;
  /** Ten bins of equal width from the smallest to the largest value. */
  readonly histogram: readonly { readonly from: number; readonly to: number; readonly count: number }[];
  /** Within groups; left out where it cannot be said. */
  readonly correlations: Readonly<Partial<Record<keyof Features, Correlation>>>;
}

export interface MeasuredValue {
  readonly id: string;
  readonly group: string | null;
  readonly value: number;
  readonly features: Features;
}
