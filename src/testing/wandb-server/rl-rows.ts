/**
 * Trajectory groups → rows, as the service's trainer does it (§7): advantages within each group, histories each on
 * their own, choices merged where their prompt continues the sequence so far. Pure.
 */
import type { TrainingRow } from '../../trajectory/rows.ts';
import { isChoice, type WireChoice, type WireGroup, type WireTrajectory } from './schemas.ts';

/** What makes the whole job fail. */
export class UntrainableError extends Error {}

export interface RlRows {
  readonly rows: readonly TrainingRow[];
  readonly groupsTrainable: number;
  readonly rewards: readonly number[];
}

export function rlRows(
  groups: readonly WireGroup[],
  options: { readonly scaleRewards: boolean; readonly withoutLogprobs: boolean },
): RlRows {
  const rows: TrainingRow[] = [];
  let groupsTrainable = 0;
  for (const [index, { trajectories }] of groups.entries()) {
    const rewards = trajectories.map((one) => one.reward);
    if (new Set(rewards).size >= 2) groupsTrainable += 1;
    const advantages = advantagesOf(rewards, options.scaleRewards);
    for (const [member, trajectory] of trajectories.entries()) {
      const advantage = advantages[member] ?? 0;
      const sequences = sequencesOf(trajectory, options.withoutLogprobs);
      if (advantage === 0) continue;
      const groupId = String(index).padStart(6, '0');
      sequences.forEach((sequence, at) => {
        rows.push({
          rowId: `${groupId}.${String(member)}.${String(at)}`,
          groupId,
          tokenIds: sequence.ids,
          positions: sequence.positions,
          logprobs: sequence.logprobs,
          advantages: sequence.positions.map(() => advantage),
          weights: sequence.positions.map(() => 1),
        });
      });
    }
  }
  return { rows, groupsTrainable, rewards: groups.flatMap((one) => one.trajectories.map((it) => it.reward)) };
}

function advantagesOf(rewards: readonly number[], scale: boolean): number[] {
  const mean = rewards.reduce((sum, reward) => sum + reward, 0) / Math.max(1, rewards.length);
  const centred = rewards.map((reward) => reward - mean);
  const deviation = Math.sqrt(
    centred.reduce((sum, value) => sum + value * value, 0) / Math.max(1, rewards.length),
  );
  return scale ? centred.map((value) => value / (deviation + 1e-6)) : centred;
}

interface Sequence {
  readonly ids: number[];
  readonly positions: number[];
  readonly logprobs: (number | null)[];
}

function sequencesOf(trajectory: WireTrajectory, withoutLogprobs: boolean): Sequence[] {
  const histories = [trajectory, ...trajectory.additional_histories];
  return histories.flatMap(({ messages_and_choices: entries }) => {
    const sequences: Sequence[] = [];
    for (const choice of entries.filter(isChoice)) {
      const logprobs = checked(choice);
      if (logprobs === null && !withoutLogprobs) continue;
      append(sequences, choice, logprobs);
    }
    return sequences.filter((one) => one.positions.length > 0);
  });
}

/** The choice's logprobs, null where it has none. Throws UntrainableError where it cannot be what was sampled. */
function checked(choice: WireChoice): readonly number[] | null {
  const { prompt_token_ids: prompt, token_ids: ids, logprobs } = choice;
  if (prompt == null || ids == null)
    throw new UntrainableError('Trainable choice is missing vLLM prompt_token_ids/token_ids.');
  const entries = logprobs?.content ?? logprobs?.refusal;
  if (entries == null) return null;
  if (entries.length !== ids.length) {
    throw new UntrainableError(
      `Trainable choice has ${String(entries.length)} logprobs for ${String(ids.length)} token_ids.`,
    );
  }
  return entries.map((one) => one.logprob);
}

function append(sequences: Sequence[], choice: WireChoice, logprobs: readonly number[] | null): void {
  const prompt = choice.prompt_token_ids ?? [];
  const last = sequences.at(-1);
  const continues = last !== undefined && last.ids.every((id, index) => prompt[index] === id);
  const sequence = continues ? last : { ids: [], positions: [], logprobs: [] };
  if (!continues) sequences.push(sequence);
  sequence.ids.push(...prompt.slice(sequence.ids.length));
  (choice.token_ids ?? []).forEach((id, index) => {
    if (sequence.ids.length > 0) {
      sequence.positions.push(sequence.ids.length);
      sequence.logprobs.push(logprobs?.[index] ?? null);
    }
    sequence.ids.push(id);
  });
}
