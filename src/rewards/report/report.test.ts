import { describe, expect, it } from 'vitest';
import { anAnswer } from '../../testing/reward-input.ts';
import { aFeedback, aReward } from '../../testing/records.ts';
import { seededRandom } from '../../trajectory/random.ts';
import type { ScoredTrajectory, Trajectory } from '../../trajectory/records.ts';
import { looksLikeRefusal } from './features.ts';
import { rankCorrelation } from './correlation.ts';
import { rewardReport } from './report.ts';

const random = seededRandom(3);
const words = (count: number): string =>
  Array.from({ length: count }, () => `w${String(Math.floor(random() * 5000))}`).join(' ');

interface Run {
  readonly text: string;
  readonly tools?: readonly string[];
  readonly errors?: number;
}

function run(group: number, { text, tools = [], errors = 0 }: Run): Trajectory {
  const trajectory = anAnswer(
    {
      role: 'assistant',
      content: text,
      tool_calls: tools.map((name, index) => ({
        id: `t${String(index)}`,
        function: { name, arguments: String(index) },
      })),
    },
    Array.from({ length: errors }, () => ({ toolName: 'look', error: 'no' })),
  );
  const call = trajectory.events[0];
  if (call?.kind === 'model-call') call.response.usage = { outputTokens: text.split(' ').length };
  return { ...trajectory, groupId: `g${String(group)}` };
}

/** Twelve groups of six; the harder the task, the longer the answers and the lower the rewards. */
function traffic(
  make: (index: number) => Run,
  value: (run: Run, group: number) => number,
): ScoredTrajectory[] {
  return Array.from({ length: 72 }, (_, index) => {
    const group = Math.floor(index / 6);
    const made = make(index);
    const trajectory = run(group, made);
    return { trajectory, rewards: [aReward(trajectory.id, value(made, group))], feedback: [] };
  });
}

const lengthOf = ({ text }: Run): number => text.split(' ').length;
const anyLength = (): Run => ({ text: words(20 + Math.floor(random() * 200)) });
const kinds = (scored: ScoredTrajectory[]) => rewardReport(scored).alarms.map((alarm) => alarm.kind);

describe('rewardReport', () => {
  it('raises the alarm on a planted hack: long answers score more, whatever they say', () => {
    const hacked = traffic(anyLength, (one) => 0.2 * random() + lengthOf(one) / 200);
    const [alarm, ...more] = rewardReport(hacked).alarms;
    expect(more).toEqual([]);
    expect(alarm).toMatchObject({ kind: 'length', component: 'test' });
    expect(alarm?.message).toMatch(
      /longer runs earn more.*rank correlation 0\.\d\d \[0\.\d\d, 0\.\d\d\].*lengthPenalty/s,
    );
    const worth = (one: ScoredTrajectory) => one.rewards[0]?.value ?? 0;
    const longest = hacked
      .toSorted((a, b) => worth(b) - worth(a))
      .slice(0, 5)
      .map((one) => String(one.trajectory.id));
    expect(alarm?.examples).toEqual(longest);
  });

  it('stays silent on an honest reward, and on tasks of which the easy ones are the long ones', () => {
    expect(kinds(traffic(anyLength, () => random()))).toEqual([]);
    const easyAndLong = Array.from({ length: 72 }, (_, index) => {
      const group = Math.floor(index / 6);
      const trajectory = run(group, { text: words(20 * (group + 1) + Math.floor(random() * 10)) });
      return { trajectory, rewards: [aReward(trajectory.id, group + random())], feedback: [] };
    });
    expect(kinds(easyAndLong)).toEqual([]);
  });

  it('tells repetition, refusals and the abuse of tools', () => {
    const repeating = (index: number): Run => ({
      text: index % 2 === 0 ? words(60) : 'a b c d e f '.repeat(10).trim(),
    });
    expect(
      kinds(traffic(repeating, ({ text }) => Number(text.startsWith('a b')) + 0.1 * random())),
    ).toContain('repetition');
    const refusing = (index: number): Run => ({
      text: index % 3 === 0 ? `I'm sorry, but I can't do that. ${words(40)}` : words(48),
    });
    const forRefusal = traffic(refusing, ({ text }) => Number(looksLikeRefusal(text)) + 0.1 * random());
    expect(kinds(forRefusal)).toContain('refusals');
    const busy = (index: number): Run => ({
      text: words(30),
      tools: new Array<string>(index % 5).fill('look'),
    });
    expect(kinds(traffic(busy, ({ tools }) => (tools?.length ?? 0) + 0.1 * random()))).toContain(
      'tool-abuse',
    );
  });

  it('says how each reward is distributed, and counts what is missing apart', () => {
    const scored = [0, 0.5, 1, 1].map((value): ScoredTrajectory => {
      const trajectory = run(1, { text: 'x' });
      const said = { ...aFeedback({ value: 1 - value, name: 'helpful' }), revision: 1 };
      return { trajectory, rewards: [aReward(trajectory.id, value)], feedback: value === 0 ? [said] : [] };
    });
    const silent: ScoredTrajectory = { trajectory: run(1, { text: 'x' }), rewards: [], feedback: [] };
    const { components, trajectories } = rewardReport([...scored, silent]);
    expect(trajectories).toBe(5);
    expect(components[0]).toMatchObject({
      name: 'test',
      source: 'code',
      n: 4,
      missing: 1,
      mean: 0.625,
      quantiles: { min: 0, p25: 0.375, median: 0.75, p75: 1, max: 1 },
    });
    expect(components[0]?.histogram.map((bin) => bin.count)).toEqual([1, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    expect(components[1]).toMatchObject({ name: 'helpful', source: 'feedback', n: 1, missing: 4, mean: 1 });
  });

  it('says where a reward is missing on most runs, or the same on all', () => {
    const constant = traffic(anyLength, () => 1);
    expect(kinds(constant)).toEqual(['constant']);
    const mostlyMissing = constant.map((one, index) => (index < 50 ? { ...one, rewards: [] } : one));
    expect(kinds(mostlyMissing)).toContain('missing');
  });
});

describe('rankCorrelation', () => {
  it('shares ranks among ties, and has an interval around its figure', () => {
    const points = [1, 2, 2, 3, 4, 5].map((x, index) => ({
      x,
      y: [1, 3, 2, 4, 4, 6][index] ?? 0,
      group: null,
    }));
    const found = rankCorrelation(points);
    // By hand: ranks 1, 2.5, 2.5, 4, 5, 6 and 1, 3, 2, 4.5, 4.5, 6.
    expect(found?.rho).toBeCloseTo(16.5 / 17, 10);
    expect(found?.interval[0]).toBeLessThan(found?.rho ?? 0);
    expect(found?.interval[1]).toBeLessThanOrEqual(1);
  });

  it('is unknown for a few values, and for constant ones', () => {
    expect(rankCorrelation([{ x: 1, y: 1, group: null }])).toBeUndefined();
    const flat = Array.from({ length: 9 }, (_, x) => ({ x, y: 1, group: null }));
    expect(rankCorrelation(flat)).toBeUndefined();
  });
});
