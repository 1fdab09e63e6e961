/** When a reward looks gamed: it rises with something that is no merit by itself, and surely so. Pure. */
import type { ComponentReport, MeasuredValue } from './component.ts';
import type { Correlation } from './correlation.ts';
import type { Features } from './features.ts';

export type AlarmKind = 'length' | 'repetition' | 'refusals' | 'tool-abuse' | 'missing' | 'constant';

export interface Alarm {
  readonly kind: AlarmKind;
  /** The reward that it is about. */
  readonly component: string;
  /** What was seen, and what to do. */
  readonly message: string;
  /** Where a correlation raised it. */
  readonly correlation?: Correlation;
  /** Trajectories to look at: the highest rewards among what is suspicious. */
  readonly examples: readonly string[];
}

export interface AlarmOptions {
  /** A correlation alarms once its whole 95 % interval lies above this. Default: 0.3. */
  readonly minCorrelation: number;
  /** Share of trajectories without a reward that alarms. Default: 0.5. */
  readonly maxMissing: number;
  /** Below so many values there is no alarm. Default: 20. */
  readonly minValues: number;
}

export const defaultAlarmOptions: AlarmOptions = { minCorrelation: 0.3, maxMissing: 0.5, minValues: 20 };

const suspects: readonly {
  readonly feature: keyof Features;
  readonly kind: AlarmKind;
  readonly what: string;
  readonly fix: string;
}[] = [
  {
    feature: 'length',
    kind: 'length',
    what: 'longer runs earn more',
    fix: 'Read the examples; where the length is no merit, add a lengthPenalty or tell the judge so.',
  },
  {
    feature: 'repetition',
    kind: 'repetition',
    what: 'runs that repeat themselves earn more',
    fix: 'Read the examples; judges and keyword checks count what is said twice as said better.',
  },
  {
    feature: 'refusal',
    kind: 'refusals',
    what: 'refusing the task earns more than doing it',
    fix: 'Read the examples; let a refusal earn what a failure earns, or gate it.',
  },
  {
    feature: 'toolCalls',
    kind: 'tool-abuse',
    what: 'runs with more tool calls earn more',
    fix: 'Read the examples; reward what the tools achieve instead of their use.',
  },
  {
    feature: 'repeatedToolCalls',
    kind: 'tool-abuse',
    what: 'runs that repeat the same tool call earn more',
    fix: 'Read the examples; count each call once.',
  },
  {
    feature: 'toolErrors',
    kind: 'tool-abuse',
    what: 'runs with more tool errors earn more',
    fix: 'Read the examples; weigh toolSuccess, or gate by it.',
  },
];

export function alarmsOf(
  component: ComponentReport,
  values: readonly MeasuredValue[],
  options: AlarmOptions,
): Alarm[] {
  const { name, n, missing, standardDeviation, correlations } = component;
  const alarms: Alarm[] = [];
  const share = missing / Math.max(1, n + missing);
  if (n + missing >= options.minValues && share > options.maxMissing && component.source !== 'feedback') {
    alarms.push({
      kind: 'missing',
      component: name,
      message: `"${name}" is missing on ${percent(share)} of ${String(n + missing)} trajectories. See why it fails or is silent: what is left may be no fair sample.`,
      examples: [],
    });
  }
  if (n < options.minValues) return alarms;
  if (standardDeviation === 0) {
    alarms.push({
      kind: 'constant',
      component: name,
      message: `"${name}" has the same value on all ${String(n)} trajectories: nothing can be learnt from it.`,
      examples: [],
    });
    return alarms;
  }
  for (const { feature, kind, what, fix } of suspects) {
    const correlation = correlations[feature];
    if (correlation === undefined || correlation.interval[0] <= options.minCorrelation) continue;
    const [low, high] = correlation.interval;
    alarms.push({
      kind,
      component: name,
      message: `By "${name}", ${what}: rank correlation ${correlation.rho.toFixed(2)} [${low.toFixed(2)}, ${high.toFixed(2)}] within groups, n ${String(correlation.n)}. ${fix}`,
      correlation,
      examples: examples(values, feature),
    });
  }
  return alarms;
}

/** The five highest rewards among the quarter with the most of it. */
function examples(values: readonly MeasuredValue[], feature: keyof Features): string[] {
  const most = values
    .toSorted((a, b) => b.features[feature] - a.features[feature])
    .slice(0, Math.max(5, Math.ceil(values.length / 4)));
  return most
    .sort((a, b) => b.value - a.value)
    .slice(0, 5)
    .map((one) => one.id);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}
