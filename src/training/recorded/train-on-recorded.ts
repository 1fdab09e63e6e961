/** One training step on recorded traffic: what people and judges said of runs that happened anyway. */
import type { LoraOptions, LossOptions, OptimizerOptions } from '../../backends/backend.ts';
import { InvalidOptionError } from '../../errors.ts';
import type { TrajectoryQuery } from '../../store/store.ts';
import { policyId } from '../../trajectory/ids.ts';
import type { RolloutProgress } from '../settings.ts';
import { StepTrainer, type TrainedStep, type TrainerParts } from '../step-trainer.ts';
import { recordedGroups, type RecordedGroups, type RecordedRules } from './recorded-groups.ts';

export interface RecordedTrainOptions extends Omit<RecordedRules, 'policies'> {
  /** Which trajectories. Default: all of this project and name. */
  readonly query?: TrajectoryQuery;
  /**
   * How many steps older than the served one a trajectory's policy may be. Default: 0, on-policy; the importance weights
   * of the loss correct for a few.
   */
  readonly maxStaleness?: number;
  /** Groups with a signal, below which it is not worth a step. Default: 1. */
  readonly minGroups?: number;
  /** Default: false (Dr. GRPO, arXiv 2503.20783). */
  readonly scaleByStandardDeviation?: boolean;
  readonly loss?: LossOptions;
  readonly optimizer?: OptimizerOptions;
  readonly lora?: LoraOptions;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: RolloutProgress) => void;
}

export type RecordedStep =
  | ({
      readonly type: 'step';
      /** The step that is served now. */
      readonly step: number;
      readonly groups: RecordedGroups;
      readonly trainedTokens: number;
      /** Calls left out, by reason. */
      readonly skipped: Readonly<Record<string, number>>;
    } & TrainedStep)
  /** A step that a crash had interrupted was finished; nothing else was trained. */
  | { readonly type: 'resumed'; readonly step: number; readonly redone: boolean }
  /** Too few groups to learn from; `groups` says why. */
  | { readonly type: 'no-signal'; readonly step: number; readonly groups: RecordedGroups };

/** Trains on each trajectory once. Throws TrainingFailedError, AdapterRefusedError, StoreError, AbortedError. */
export async function trainOnRecorded(
  parts: TrainerParts,
  options: RecordedTrainOptions,
): Promise<RecordedStep> {
  const { project, name, store, now } = parts;
  const { query = {}, minGroups = 1, loss, optimizer, lora, signal, onProgress } = options;
  const trainer = new StepTrainer(parts, {
    scaleByStandardDeviation: options.scaleByStandardDeviation ?? false,
    signal,
    onProgress,
    ...(loss === undefined ? {} : { loss }),
    ...(optimizer === undefined ? {} : { optimizer }),
    ...(lora === undefined ? {} : { lora }),
  });
  const resumed = await trainer.resume();
  if (resumed?.redone === true) return resumed;
  const policies = fresh(name, trainer.step, options.maxStaleness ?? 0);
  const scored = await store.find({ project, name, ...query });
  const steps = await store.steps(project, name);
  const trained = new Set(steps.flatMap((step) => (step.state === 'failed' ? [] : step.trajectoryIds)));
  const groups = recordedGroups(scored, { ...options, policies }, { trained, now: now() });
  const judgements = Object.fromEntries(
    groups.groups
      .filter((group) => group.signal === true)
      .flatMap(({ groupId, members }) =>
        members.map(({ trajectory, total }) => [String(trajectory.id), { groupId, total: total ?? 0 }]),
      ),
  );
  const batch = await trainer.batch(Object.keys(judgements), judgements);
  if (groups.withSignal < minGroups || batch.rows.length === 0)
    return { type: 'no-signal', step: trainer.step, groups };
  const { trainedTokens, skipped } = batch;
  const done = await trainer.train(batch, judgements);
  return { type: 'step', step: trainer.step, groups, trainedTokens, skipped, ...done };
}

/** The policies from `step` down, as far as they may be off. */
function fresh(name: string, step: number, maxStaleness: number): string[] {
  if (!Number.isInteger(maxStaleness) || maxStaleness < 0) {
    throw new InvalidOptionError({
      field: 'maxStaleness',
      received: maxStaleness,
      expected: 'a whole number of at least 0',
      fix: 'Leave it out for on-policy training.',
    });
  }
  const oldest = Math.max(0, step - maxStaleness);
  return Array.from({ length: step - oldest + 1 }, (_, index) => oldest + index).map((one) =>
    one === 0 ? 'base' : policyId({ name, step: one }),
  );
}
