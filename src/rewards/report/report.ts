/** The reward report: how each reward is distributed, what it goes along with, and whether it looks gamed. Pure. */
import type { Reward, ScoredTrajectory } from '../../trajectory/records.ts';
import { aggregateFeedback } from '../feedback/aggregate.ts';
import { alarmsOf, defaultAlarmOptions, type Alarm, type AlarmOptions } from './alarms.ts';
import type { ComponentReport, MeasuredValue } from './component.ts';
import { rankCorrelation, type Correlation } from './correlation.ts';
import { featureNames, featuresOf, looksLikeRefusal, type Features } from './features.ts';

export interface RewardReportOptions extends Partial<AlarmOptions> {
  /** Whether an answer declines the task. Default: by the usual English phrases. */
  readonly isRefusal?: (text: string) => boolean;
}

export interface RewardReport {
  readonly trajectories: number;
  /** `total` first, where there is one. */
  readonly components: readonly ComponentReport[];
  readonly alarms: readonly Alarm[];
}

export function rewardReport(
  scored: readonly ScoredTrajectory[],
  options: RewardReportOptions = {},
): RewardReport {
  const { isRefusal = looksLikeRefusal } = options;
  const features = scored.map(({ trajectory }) => featuresOf(trajectory, isRefusal));
  const measured = new Map<string, { source: Reward['source']['type']; values: MeasuredValue[] }>();
  scored.forEach((one, index) => {
    const { id, groupId, scenario } = one.trajectory;
    const at = features[index];
    if (at === undefined) return;
    for (const { name, value, source } of valuesOf(one)) {
      const known = measured.get(name) ?? { source, values: [] };
      known.values.push({ id, group: groupId ?? scenario, value, features: at });
      measured.set(name, known);
    }
  });
  const names = [...measured.keys()].sort((a, b) => Number(b === 'total') - Number(a === 'total'));
  const components = names.flatMap((name) => {
    const one = measured.get(name);
    return one === undefined ? [] : [component(name, one.source, one.values, scored.length)];
  });
  const alarms = components.flatMap((one) =>
    alarmsOf(one, measured.get(one.name)?.values ?? [], { ...defaultAlarmOptions, ...options }),
  );
  return { trajectories: scored.length, components, alarms };
}

interface NamedValue {
  readonly name: string;
  readonly value: number;
  readonly source: Reward['source']['type'];
}

/** Rewards of the trajectory as a whole, and what people said of it. */
function valuesOf({ rewards, feedback }: ScoredTrajectory): NamedValue[] {
  const given = rewards
    .filter((reward) => reward.callId === undefined)
    .map(({ name, value, source }) => ({ name, value, source: source.type }));
  const names = [...new Set(feedback.map((piece) => piece.name))];
  const said = names.flatMap((name): NamedValue[] => {
    const value = aggregateFeedback(feedback, name, 'mean');
    return value === undefined ? [] : [{ name, value, source: 'feedback' }];
  });
  return [...given, ...said];
}

function component(
  name: string,
  source: ComponentReport['source'],
  values: readonly MeasuredValue[],
  trajectories: number,
): ComponentReport {
  const sorted = values.map((one) => one.value).sort((a, b) => a - b);
  const n = sorted.length;
  const mean = sorted.reduce((sum, value) => sum + value, 0) / n;
  const variance = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, n - 1);
  const correlations: Partial<Record<keyof Features, Correlation>> = {};
  for (const feature of featureNames) {
    const points = values.map((one) => ({ x: one.features[feature], y: one.value, group: one.group }));
    const found = rankCorrelation(points);
    if (found !== undefined) correlations[feature] = found;
  }
  return {
    name,
    source,
    n,
    missing: trajectories - n,
    mean,
    standardDeviation: Math.sqrt(variance),
    quantiles: {
      min: quantile(sorted, 0),
      p25: quantile(sorted, 0.25),
      median: quantile(sorted, 0.5),
      p75: quantile(sorted, 0.75),
      max: quantile(sorted, 1),
    },
    histogram: histogram(sorted),
    correlations,
  };
}

/** Linear between the two nearest values (Hyndman and Fan's type 7). */
function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? low;
  return low + (high - low) * (at - Math.floor(at));
}

function histogram(sorted: readonly number[]): ComponentReport['histogram'] {
  const min = sorted[0] ?? 0;
  const max = sorted.at(-1) ?? 0;
  if (min === max) return [{ from: min, to: max, count: sorted.length }];
  const width = (max - min) / 10;
  const counts = new Array<number>(10).fill(0);
  for (const value of sorted) {
    const bin = Math.min(9, Math.floor((value - min) / width));
    counts[bin] = (counts[bin] ?? 0) + 1;
  }
  return counts.map((count, bin) => ({ from: min + bin * width, to: min + (bin + 1) * width, count }));
}
