import { InvalidOptionError, InvalidRecordError } from '../errors.ts';
import type { RewardFunction, RewardInput, RewardValue, Scenario } from './reward.ts';

/** A reward with its weight in the sum. A bare reward function weighs 1. */
export type WeightedReward<S extends Scenario, R> =
  RewardFunction<S, R> | { readonly reward: RewardFunction<S, R>; readonly weight: number };

export interface ComponentScore extends RewardValue {
  readonly name: string;
  readonly weight: number;
  readonly source: RewardFunction['source'];
}

export type Score =
  | { readonly status: 'scored'; readonly total: number; readonly components: readonly ComponentScore[] }
  /** No reward spoke, or one failed: the rollout is left out of its group, not counted as 0. */
  | { readonly status: 'missing'; readonly reason: string; readonly components: readonly ComponentScore[] };

export interface Scorer<S extends Scenario, R> {
  score(input: RewardInput<S, R>): Promise<Score>;
}

/**
 * Combines rewards into `Σ weight · value` over those that spoke. A reward that throws or gives a number that is not
 * finite makes the score missing: half a reward would be a wrong one.
 */
export function weightedSum<S extends Scenario, R>(rewards: readonly WeightedReward<S, R>[]): Scorer<S, R> {
  const weighted = rewards.map((entry) => ('reward' in entry ? entry : { reward: entry, weight: 1 }));
  validate(weighted);
  return {
    async score(input) {
      const settled = await Promise.all(weighted.map((entry) => scoreOne(entry, input)));
      const components = settled.flatMap((one) => (one.kind === 'value' ? [one.component] : []));
      const failed = settled.find((one) => one.kind === 'failed');
      if (failed?.kind === 'failed') return { status: 'missing', reason: failed.reason, components };
      if (components.length === 0) {
        return { status: 'missing', reason: 'no reward function gave a value', components };
      }
      const total = components.reduce((sum, one) => sum + one.weight * one.value, 0);
      return { status: 'scored', total, components };
    },
  };
}

type One =
  | { readonly kind: 'value'; readonly component: ComponentScore }
  | { readonly kind: 'silent' }
  | { readonly kind: 'failed'; readonly reason: string };

async function scoreOne<S extends Scenario, R>(
  entry: { readonly reward: RewardFunction<S, R>; readonly weight: number },
  input: RewardInput<S, R>,
): Promise<One> {
  const { reward, weight } = entry;
  try {
    const value = await reward.score(input);
    if (value === undefined) return { kind: 'silent' };
    if (!Number.isFinite(value.value)) {
      throw new InvalidRecordError({
        field: `reward ${reward.name}`,
        received: String(value.value),
        expected: 'a finite number',
        fix: 'Return undefined where there is nothing to say.',
      });
    }
    return { kind: 'value', component: { ...value, name: reward.name, weight, source: reward.source } };
  } catch (error) {
    return { kind: 'failed', reason: `reward "${reward.name}" failed: ${String(error)}` };
  }
}

function validate(
  entries: readonly { readonly reward: { readonly name: string }; readonly weight: number }[],
): void {
  if (entries.length === 0) {
    throw new InvalidOptionError({
      field: 'rewards',
      received: [],
      expected: 'at least one reward',
      fix: 'Pass codeReward(name, compute).',
    });
  }
  const seen = new Set<string>();
  for (const { reward, weight } of entries) {
    if (seen.has(reward.name)) {
      throw new InvalidOptionError({
        field: 'rewards',
        received: reward.name,
        expected: 'a list of rewards with different names',
        fix: 'Rename one of them.',
      });
    }
    seen.add(reward.name);
    if (!Number.isFinite(weight)) {
      throw new InvalidOptionError({
        field: `rewards.${reward.name}.weight`,
        received: String(weight),
        expected: 'a finite number',
        fix: 'Use 1 for a plain sum.',
      });
    }
  }
}
