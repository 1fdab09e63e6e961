/** From components to one number: weights, clamps, gates. Each component is kept beside the sum. */
import type { Reward } from '../trajectory/records.ts';
import type { RewardValue } from './reward.ts';

/** Bounds of a value, before it is weighed. */
export interface Clamp {
  readonly min?: number;
  readonly max?: number;
}

/** A condition on the whole: below `atLeast`, the total is `otherwise` (default: 0), whatever the other rewards say. */
export interface Gate {
  readonly atLeast: number;
  readonly otherwise?: number;
}

/** How one reward goes into the sum. */
export interface Term {
  readonly name: string;
  readonly scope: 'trajectory' | 'call' | 'group';
  readonly source: Reward['source'];
  readonly weight: number;
  readonly clamp?: Clamp;
  readonly gate?: Gate;
}

/** What one reward gave: its own value, neither clamped nor weighed. */
export interface Component extends RewardValue {
  readonly name: string;
  /** For rewards of single calls. */
  readonly callId?: string;
  readonly source: Reward['source'];
}

/** What is known of a rollout before its group is compared. */
export interface PartialScore {
  readonly components: readonly Component[];
  /** Why there can be no score, whatever else comes; undefined where nothing stands against it. */
  readonly failure?: string;
}

export type Score =
  | {
      readonly status: 'scored';
      readonly total: number;
      /** By the id of the model call: the weighted sum of the rewards for this call alone. Not part of `total`. */
      readonly callTotals: ReadonlyMap<string, number>;
      readonly components: readonly Component[];
    }
  /** No reward spoke, or one failed: the rollout is left out of its group, not counted as 0. */
  | { readonly status: 'missing'; readonly reason: string; readonly components: readonly Component[] };

/**
 * `Σ weight · clamp(value)` over the terms that spoke, clamped as a whole; or what a closed gate says. Half a reward
 * would be a wrong one, so a failure makes the score missing.
 */
export function totalScore(terms: readonly Term[], partial: PartialScore, clamp: Clamp = {}): Score {
  const { components, failure } = partial;
  if (failure !== undefined) return { status: 'missing', reason: failure, components };
  const spoken = terms.flatMap((term) =>
    components.filter((one) => one.name === term.name).map((component) => ({ term, component })),
  );
  if (spoken.length === 0) return { status: 'missing', reason: 'no reward gave a value', components };
  let sum = 0;
  const callTotals = new Map<string, number>();
  for (const { term, component } of spoken) {
    const value = term.weight * clamped(component.value, term.clamp);
    if (component.callId === undefined) sum += value;
    else callTotals.set(component.callId, (callTotals.get(component.callId) ?? 0) + value);
  }
  const closed = spoken.find(
    ({ term, component }) => term.gate !== undefined && component.value < term.gate.atLeast,
  );
  const total = closed === undefined ? clamped(sum, clamp) : (closed.term.gate?.otherwise ?? 0);
  return { status: 'scored', total, callTotals, components };
}

export function clamped(value: number, { min = -Infinity, max = Infinity }: Clamp = {}): number {
  return Math.min(max, Math.max(min, value));
}
