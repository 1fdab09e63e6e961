/** The service's figures: numbers only, means over gradient steps, and the names that W&B's charts know. Pure. */
import type { TrainingGroup } from '../backend.ts';

export type Numbers = Readonly<Record<string, number>>;

/** The entries that are finite numbers. */
export function numbersOf(data: Readonly<Record<string, unknown>> | null | undefined): Numbers {
  const entries = Object.entries(data ?? {});
  return Object.fromEntries(
    entries.filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number' && Number.isFinite(entry[1]),
    ),
  );
}

/** Mean of each key over the steps that have it. */
export function meanOf(steps: readonly Numbers[]): Numbers {
  const sums = new Map<string, { sum: number; count: number }>();
  for (const step of steps) {
    for (const [key, value] of Object.entries(step)) {
      const known = sums.get(key) ?? { sum: 0, count: 0 };
      sums.set(key, { sum: known.sum + value, count: known.count + 1 });
    }
  }
  return Object.fromEntries([...sums].map(([key, { sum, count }]) => [key, sum / count]));
}

const names: Readonly<Record<string, string>> = {
  policy_loss: 'loss/train',
  loss: 'loss/train',
  entropy: 'loss/entropy',
  kl_div: 'loss/kl_div',
  kl_policy_ref: 'loss/kl_policy_ref',
  grad_norm: 'loss/grad_norm',
  learning_rate: 'loss/learning_rate',
  num_groups_submitted: 'data/step_num_groups_submitted',
  num_groups_trainable: 'data/step_num_groups_trainable',
  num_trajectories: 'data/step_num_trajectories',
  num_datums: 'data/step_num_datums',
  num_trainable_tokens: 'data/step_trainer_tokens',
  train_tokens: 'data/step_trainer_tokens',
};

/** Names as in the charts of W&B Training; the speed of single gradient steps is dropped. */
export function chartNames(metrics: Numbers): Numbers {
  return Object.fromEntries(
    Object.entries(metrics).flatMap(([key, value]) => {
      if (key === 'tokens_per_second') return [];
      if (key.startsWith('group_metric_')) return [[key.replace('group_metric_', 'group_'), value]];
      return [[names[key] ?? key, value]];
    }),
  );
}

/** What is known of the groups without asking the service. */
export function groupFigures(groups: readonly TrainingGroup[]): Numbers {
  const trainable = groups.filter(({ members }) => new Set(members.map((one) => one.reward)).size >= 2);
  const scenarios = groups.flatMap(({ groupId, members }) => members[0]?.trajectory.scenario ?? groupId);
  return {
    'data/step_num_scenarios': new Set(scenarios).size,
    'data/step_num_trajectories': groups.reduce((sum, one) => sum + one.members.length, 0),
    'data/step_num_groups_submitted': groups.length,
    'data/step_num_groups_trainable': trainable.length,
  };
}
