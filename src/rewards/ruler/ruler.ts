/**
 * RULER, the relative judge of OpenPipe's ART: a language model scores the attempts at one task against each other, which
 * needs no labels and suits GRPO. Here scores are joined by id and checked, the order is shuffled and balanced, several
 * votes are averaged, and the agreement of the votes is kept.
 */
import { createHash } from 'node:crypto';
import { InvalidOptionError, isApprenticeError, JudgeError } from '../../errors.ts';
import { seededRandom } from '../../trajectory/random.ts';
import type { Judge } from '../judges/judge.ts';
import { renderTrajectory, defaultMaxCharacters, type Rendered } from '../judges/render.ts';
import { JudgeSession, type JudgeSpending, type Spent } from '../judges/session.ts';
import { toJudge, type JudgeLike } from '../judges/to-judge.ts';
import type { GroupReward, GroupRewardInput, RewardValue } from '../reward.ts';
import { agreement } from './agreement.ts';
import { balancedOrders } from './orders.ts';
import { checkScores, defaultRubric, rulerMessages, scoresSchema, type JudgedScore } from './prompt.ts';

export interface RulerOptions extends JudgeSpending {
  /** Default: 'ruler'. */
  readonly name?: string;
  /** One judge or several; each gives `repeats` votes, all of which weigh the same. */
  readonly judge: JudgeLike | readonly JudgeLike[];
  /** What counts. Default: `defaultRubric`. */
  readonly rubric?: string;
  /**
   * Votes of each judge, each on another order. Default: 2, which cancels a bias that grows with the place; as many as a
   * group has members (twice as many where that is odd) cancels any bias for places.
   */
  readonly repeats?: number;
  /** 'balanced': by `seed` and group. 'given': as recorded, the first vote's order for all. Default: 'balanced'. */
  readonly order?: 'balanced' | 'given';
  readonly seed?: number;
  /** Below this agreement of the votes (−1 to 1) the group goes without a score. Default: no bound. */
  readonly minAgreement?: number;
  /** Longer texts are cut in their middle. Characters of one text. Default: 20 000. */
  readonly maxCharacters?: number;
}

export interface Ruler extends GroupReward {
  /** What it has spent so far. */
  readonly spent: Spent;
}

interface Vote {
  /** Parallel to the distinct attempts. */
  readonly scores: readonly JudgedScore[];
  readonly usd: number;
}

/**
 * A reward that compares the members of a group: values in [0, 1] that mean nothing across groups. Give groups of four to
 * eight. Equal attempts are judged once and share their score. An answer that does not fit is sent back once; a vote that
 * still does not fit is left out, and without any vote the group is missing its scores. Throws InvalidOptionError.
 */
export function ruler(options: RulerOptions): Ruler {
  const judges = (isList(options.judge) ? options.judge : [options.judge]).map(toJudge);
  const { name = 'ruler', repeats = 2, minAgreement } = options;
  validate(judges, repeats, minAgreement);
  const session = new JudgeSession(options);
  return {
    scope: 'group',
    name,
    source: { type: 'judge', name, model: judges.map((judge) => judge.model).join(', ') },
    get spent() {
      return session.spent;
    },
    async scoreGroup(input) {
      const attempts = distinct(input, options.maxCharacters ?? defaultMaxCharacters);
      const rendered = attempts.map((one) => one.rendered);
      const votes = await collectVotes({ options, judges, repeats, session, rendered, input });
      const scores = votes.map((vote) => vote.scores.map((one) => one.score));
      const agreed = agreement(scores);
      if (minAgreement !== undefined && votes.length > 1 && (agreed ?? 1) < minAgreement)
        return input.trajectories.map(() => undefined);
      const usd = votes.reduce((sum, vote) => sum + vote.usd, 0) / input.trajectories.length;
      const values = attempts.map((_, index): RewardValue => ({
        value: mean(scores.map((vote) => vote[index] ?? 0)),
        explanation: votes[0]?.scores[index]?.explanation ?? '',
        details: {
          votes: votes.length,
          refusedVotes: judges.length * repeats - votes.length,
          ...(agreed === undefined ? {} : { agreement: agreed }),
          usd,
        },
      }));
      return input.trajectories.map(
        (_, index) => values[attempts.findIndex((one) => one.members.has(index))],
      );
    },
  };
}

interface Voting {
  readonly options: RulerOptions;
  readonly judges: readonly Judge[];
  readonly repeats: number;
  readonly session: JudgeSession;
  readonly rendered: readonly Rendered[];
  readonly input: GroupRewardInput;
}

/** Those that could be used. Throws JudgeError where there is none. */
async function collectVotes(voting: Voting): Promise<Vote[]> {
  const { options, judges, repeats, rendered } = voting;
  const seed = seedOf(options.seed ?? 0, rendered);
  const given = rendered.map((_, index) => index);
  const orders =
    options.order === 'given'
      ? Array.from({ length: repeats }, () => given)
      : balancedOrders(rendered.length, repeats, seed);
  const asked = judges.flatMap((judge) =>
    orders.map((order, repeat) => oneVote(voting, judge, order, seed + repeat)),
  );
  const settled = await Promise.allSettled(asked);
  const votes = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failures = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason as Error] : []));
  // Only a judge that fails costs no more than its vote: budgets, aborts and faults of ours are not votes.
  const fatal = failures.find((error) => !(isApprenticeError(error) && error.code === 'judge_failed'));
  if (fatal !== undefined) throw fatal;
  if (votes.length === 0) {
    throw new JudgeError(
      `None of ${String(asked.length)} votes could be used; the first: ${String(failures[0])}`,
      {
        fix: 'Use a stronger judge, or smaller groups.',
        cause: failures[0],
      },
    );
  }
  return votes;
}

async function oneVote(voting: Voting, judge: Judge, order: readonly number[], seed: number): Promise<Vote> {
  const { options, session, rendered, input } = voting;
  const labels = labelsFor(order.length, seed);
  const candidates = order.flatMap((index, place) => {
    const one = rendered[index];
    return one === undefined ? [] : [{ label: labels[place] ?? '', rendered: one }];
  });
  const request = {
    messages: rulerMessages(candidates, options.rubric ?? defaultRubric),
    schema: scoresSchema,
    schemaName: 'scores',
    signal: input.signal,
  };
  const { value, usd } = await session.ask(judge, request, checkScores(labels));
  // Back from places to attempts.
  const scores = rendered.map((_, index) => value[order.indexOf(index)] ?? { score: 0, explanation: '' });
  return { scores, usd };
}

interface Attempt {
  readonly rendered: Rendered;
  /** Indices of the trajectories that are alike. */
  readonly members: ReadonlySet<number>;
}

function distinct({ trajectories }: GroupRewardInput, maxCharacters: number): Attempt[] {
  const rendered = trajectories.map((one) => renderTrajectory(one, maxCharacters));
  const byText = Map.groupBy(rendered.keys(), (index) => JSON.stringify(rendered[index]));
  return [...byText.values()].flatMap((members) => {
    const one = rendered[members[0] ?? 0];
    return one === undefined ? [] : [{ rendered: one, members: new Set(members) }];
  });
}

/** Names without an order: a judge that likes low numbers, or the letter A, finds none. */
function labelsFor(count: number, seed: number): string[] {
  const random = seededRandom(seed ^ 0x5f37_59df);
  const consonants = 'bcdfghjkmnpqrstvwxz';
  const labels = new Set<string>();
  while (labels.size < count) {
    labels.add(
      Array.from({ length: 3 }, () => consonants[Math.floor(random() * consonants.length)]).join(''),
    );
  }
  return [...labels];
}

function seedOf(seed: number, rendered: readonly Rendered[]): number {
  return createHash('sha256')
    .update(JSON.stringify([seed, rendered]))
    .digest()
    .readUInt32LE(0);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}

function isList(judge: RulerOptions['judge']): judge is readonly JudgeLike[] {
  return Array.isArray(judge);
}

function validate(judges: readonly Judge[], repeats: number, minAgreement: number | undefined): void {
  if (judges.length === 0) {
    throw new InvalidOptionError({
      field: 'judge',
      received: [],
      expected: 'at least one judge',
      fix: 'For instance openaiJudge({ model: "gpt-5-mini" }).',
    });
  }
  if (!Number.isInteger(repeats) || repeats < 1) {
    throw new InvalidOptionError({
      field: 'repeats',
      received: repeats,
      expected: 'a whole number of at least 1',
      fix: 'Leave it out for 2.',
    });
  }
  if (minAgreement !== undefined && !(minAgreement >= -1 && minAgreement <= 1)) {
    throw new InvalidOptionError({
      field: 'minAgreement',
      received: minAgreement,
      expected: 'a number between -1 and 1',
      fix: 'For instance 0.3.',
    });
  }
}
