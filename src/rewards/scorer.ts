/** Asks the rewards: those of one rollout as soon as it is over, those of a group once all its members are there. */
import { createHash } from 'node:crypto';
import { InvalidOptionError, InvalidRecordError, isApprenticeError } from '../errors.ts';
import type {
  AnyReward,
  CallReward,
  GroupRewardInput,
  RewardFunction,
  RewardInput,
  Scenario,
} from './reward.ts';
import {
  totalScore,
  type Clamp,
  type Component,
  type Gate,
  type PartialScore,
  type Score,
  type Term,
} from './score.ts';

/** A reward and how it goes into the sum. A bare reward weighs 1. */
export type RewardEntry<S extends Scenario = Scenario, R = unknown> =
  | AnyReward<S, R>
  | {
      readonly reward: AnyReward<S, R>;
      /** Default: 1, and 0 for a gate. 0: kept and reported, not part of the sum. */
      readonly weight?: number;
      readonly clamp?: Clamp;
      readonly gate?: Gate;
    };

export interface Scorer<S extends Scenario = Scenario, R = unknown> {
  readonly terms: readonly Term[];
  /** Changes with the names, weights, clamps and gates of the rewards: scores of another one do not mix with these. */
  readonly fingerprint: string;
  /** The part that depends on this rollout alone. */
  score(input: RewardInput<S, R>): Promise<PartialScore>;
  /** Adds what compares the members of a group, and the totals. `partials` are parallel to the trajectories. */
  scoreGroup(input: GroupRewardInput, partials: readonly PartialScore[]): Promise<readonly Score[]>;
}

export interface WeightedSumOptions {
  /** Bounds of the whole. */
  readonly clamp?: Clamp;
}

/**
 * Combines rewards into `Σ weight · clamp(value)` over those that spoke. A reward that throws, or gives a number that is
 * not finite, makes the score missing. Throws InvalidOptionError.
 */
export function weightedSum<S extends Scenario, R>(
  rewards: readonly RewardEntry<S, R>[],
  options: WeightedSumOptions = {},
): Scorer<S, R> {
  const entries = rewards.map((entry) => ('reward' in entry ? entry : { reward: entry }));
  const terms = entries.map(toTerm);
  validate(terms, options);
  const single = entries.flatMap(({ reward }) => (reward.scope === 'group' ? [] : [reward]));
  const relative = entries.flatMap(({ reward }) => (reward.scope === 'group' ? [reward] : []));
  const text = JSON.stringify([terms.map(({ source: _, ...term }) => term), options]);
  return {
    terms,
    fingerprint: createHash('sha256').update(text).digest('hex').slice(0, 12),
    async score(input) {
      return merge(await Promise.all(single.map((reward) => attempt(reward.name, () => ask(reward, input)))));
    },
    async scoreGroup(input, partials) {
      // A member that has failed already is no measure for the others.
      const compared = partials.flatMap((partial, index) => (partial.failure === undefined ? [index] : []));
      const judged = new Map<number, PartialScore[]>();
      // What an earlier run has judged wholly is not judged, nor paid, again.
      const missing = relative.filter(
        ({ name }) =>
          !compared.every((index) => partials[index]?.components.some((one) => one.name === name)),
      );
      if (compared.length >= 2) {
        const trajectories = compared.flatMap((index) => input.trajectories[index] ?? []);
        for (const reward of missing) {
          const given = await attempt(reward.name, () => reward.scoreGroup({ ...input, trajectories }));
          compared.forEach((index, position) => {
            const part = groupPart(reward, given, position);
            if (part !== undefined) judged.set(index, [...(judged.get(index) ?? []), part]);
          });
        }
      }
      const again = new Set(missing.map((reward) => reward.name));
      const kept = partials.map((partial) => ({
        ...partial,
        components: partial.components.filter((one) => !again.has(one.name)),
      }));
      return kept.map((partial, index) =>
        totalScore(terms, merge([partial, ...(judged.get(index) ?? [])]), options.clamp),
      );
    },
  };
}

type Attempted<T> = { readonly value: T } | { readonly failure: string };

async function ask<S extends Scenario, R>(
  reward: RewardFunction<S, R> | CallReward<S, R>,
  input: RewardInput<S, R>,
): Promise<PartialScore> {
  const { name, source } = reward;
  const given = reward.scope === 'call' ? await reward.scoreCalls(input) : [await reward.score(input)];
  const components = given.flatMap((one): Component[] =>
    one === undefined ? [] : [{ ...one, name, source }],
  );
  for (const one of components) checkFinite(name, one.value);
  if (reward.scope === 'call') checkCalls(name, components, input.trajectory.events);
  return { components };
}

/** A throw of a reward is a missing score; what ends the whole run (a budget, an abort) goes on. */
async function attempt<T>(name: string, work: () => Promise<T>): Promise<Attempted<T>> {
  try {
    return { value: await work() };
  } catch (error) {
    if (isApprenticeError(error) && (error.code === 'judge_budget_exceeded' || error.code === 'aborted'))
      throw error;
    return { failure: `reward "${name}" failed: ${String(error)}` };
  }
}

function groupPart(
  reward: Extract<AnyReward, { scope: 'group' }>,
  given: Attempted<Awaited<ReturnType<typeof reward.scoreGroup>>>,
  position: number,
): PartialScore | undefined {
  if ('failure' in given) return { components: [], failure: given.failure };
  const value = given.value[position];
  if (value === undefined) return undefined;
  if (!Number.isFinite(value.value))
    return { components: [], failure: `reward "${reward.name}" gave ${String(value.value)}` };
  return { components: [{ ...value, name: reward.name, source: reward.source }] };
}

function merge(parts: readonly (PartialScore | Attempted<PartialScore>)[]): PartialScore {
  const flat = parts.map((part): PartialScore => {
    if ('value' in part) return part.value;
    return 'components' in part ? part : { components: [], failure: part.failure };
  });
  const failure = flat.find((part) => part.failure !== undefined)?.failure;
  const components = flat.flatMap((part) => part.components);
  return failure === undefined ? { components } : { components, failure };
}

function checkFinite(name: string, value: number): void {
  if (Number.isFinite(value)) return;
  throw new InvalidRecordError({
    field: `reward ${name}`,
    received: String(value),
    expected: 'a finite number',
    fix: 'Return undefined where there is nothing to say.',
  });
}

function checkCalls(
  name: string,
  components: readonly Component[],
  events: RewardInput<Scenario, unknown>['trajectory']['events'],
): void {
  const known = new Set<string>(events.flatMap((event) => (event.kind === 'model-call' ? [event.id] : [])));
  const unknown = components.find((one) => one.callId === undefined || !known.has(one.callId));
  if (unknown === undefined) return;
  throw new InvalidRecordError({
    field: `reward ${name}.callId`,
    received: unknown.callId,
    expected: 'the id of a model call of this trajectory',
    fix: 'Take it from trajectory.events.',
  });
}

function toTerm(entry: Exclude<RewardEntry<never, never>, AnyReward<never, never>>): Term {
  const { reward, weight, clamp, gate } = entry;
  return {
    name: reward.name,
    scope: reward.scope,
    source: reward.source,
    weight: weight ?? (gate === undefined ? 1 : 0),
    ...(clamp === undefined ? {} : { clamp }),
    ...(gate === undefined ? {} : { gate }),
  };
}

function validate(terms: readonly Term[], options: WeightedSumOptions): void {
  if (terms.length === 0) {
    throw new InvalidOptionError({
      field: 'rewards',
      received: [],
      expected: 'at least one reward',
      fix: 'Pass codeReward(name, compute).',
    });
  }
  const seen = new Set<string>();
  for (const { name, weight, clamp, gate, scope } of terms) {
    if (seen.has(name) || name === 'total') {
      throw new InvalidOptionError({
        field: 'rewards',
        received: name,
        expected: 'a list of rewards with different names, none of them "total"',
        fix: 'Rename one of them.',
      });
    }
    seen.add(name);
    checkNumber(`rewards.${name}.weight`, weight);
    checkClamp(`rewards.${name}.clamp`, clamp);
    if (gate !== undefined) {
      checkNumber(`rewards.${name}.gate.atLeast`, gate.atLeast);
      checkNumber(`rewards.${name}.gate.otherwise`, gate.otherwise ?? 0);
      if (scope === 'call') {
        throw new InvalidOptionError({
          field: `rewards.${name}.gate`,
          received: gate,
          expected: 'left out for a reward of single calls',
          fix: 'Gate the whole trajectory by a codeReward.',
        });
      }
    }
  }
  checkClamp('clamp', options.clamp);
}

function checkNumber(field: string, value: number): void {
  if (Number.isFinite(value)) return;
  throw new InvalidOptionError({
    field,
    received: String(value),
    expected: 'a finite number',
    fix: 'Use 1 for a plain sum.',
  });
}

function checkClamp(field: string, clamp: Clamp | undefined): void {
  if (clamp === undefined) return;
  const { min = -Infinity, max = Infinity } = clamp;
  if (min <= max) return;
  throw new InvalidOptionError({
    field,
    received: clamp,
    expected: 'bounds with min ≤ max',
    fix: 'Swap them.',
  });
}
