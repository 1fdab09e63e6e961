/** Runs jobs one after the other, as their events tell; each that ends makes the next checkpoint of its model. */
import { randomUUID } from 'node:crypto';
import type { Artifacts } from './artifacts.ts';
import type { EngineJob, WandbEngine } from './engine.ts';
import type { Behaviour } from './faults.ts';
import { engineLoss } from './rl-config.ts';
import { rlRows, UntrainableError } from './rl-rows.ts';
import type { RlConfig, SftJob, WireGroup } from './schemas.ts';
import { parseExamples, sftRows } from './sft-rows.ts';
import type { JobRecord, ModelRecord, WandbState } from './state.ts';

export interface JobDefaults {
  /** Used where a request names no learning rate. */
  readonly learningRate: number;
  /** Gradient steps of an RL job, at most one for each group with a signal. */
  readonly gradientSteps: number;
}

export interface JobParts {
  readonly state: WandbState;
  readonly engine: WandbEngine;
  readonly artifacts: Artifacts;
  readonly behaviour: Behaviour;
  readonly defaults: JobDefaults;
}

export type JobWork =
  | { readonly kind: 'rl'; readonly groups: readonly WireGroup[]; readonly config: RlConfig }
  | { readonly kind: 'sft'; readonly request: SftJob };

/** What a job trains on, and what its events say beside the engine's numbers. */
interface Prepared {
  readonly job: Pick<EngineJob, 'rows' | 'gradientSteps' | 'learningRate' | 'loss'>;
  readonly metrics: Readonly<Record<string, number>>;
}

export class Jobs {
  readonly #parts: JobParts;
  #last: Promise<void> = Promise.resolve();

  constructor(parts: JobParts) {
    this.#parts = parts;
    for (const job of parts.state.tables.jobs) {
      // Nothing goes on where the server itself was stopped.
      if (job.status === 'queued' || job.status === 'running') this.#fail(job, 'The server was restarted.');
    }
  }

  /** Accepts a job and gives its id. */
  start(model: ModelRecord, work: JobWork): string {
    const { state, behaviour } = this.#parts;
    const job: JobRecord = {
      id: randomUUID(),
      modelId: model.id,
      kind: work.kind,
      events: [],
      status: 'queued',
    };
    state.tables.jobs.push(job);
    state.save();
    const outcome = behaviour.jobs;
    this.#last = this.#last.then(() => this.#run(job, model, work, outcome));
    return job.id;
  }

  get(id: string): JobRecord | undefined {
    return this.#parts.state.tables.jobs.find((one) => one.id === id);
  }

  /** Resolves when no job is left. */
  settled(): Promise<void> {
    return this.#last;
  }

  async #run(job: JobRecord, model: ModelRecord, work: JobWork, outcome: Behaviour['jobs']): Promise<void> {
    if (outcome === 'stall') return;
    job.status = 'running';
    try {
      if (outcome === 'fail') throw new UntrainableError('CUDA out of memory (scripted).');
      if (outcome === 'fail-without-message') throw new UntrainableError('');
      const prepared = work.kind === 'rl' ? this.#prepareRl(work) : await this.#prepareSft(work.request);
      await this.#train(job, model, prepared);
    } catch (error) {
      this.#fail(job, error instanceof Error ? error.message : String(error));
    }
  }

  async #train(job: JobRecord, model: ModelRecord, { job: wanted, metrics }: Prepared): Promise<void> {
    const { state, engine, behaviour, artifacts } = this.#parts;
    this.#say(job, 'training_started', { num_sequences: wanted.gradientSteps });
    if (behaviour.oddEvents) this.#say(job, 'worker_heartbeat', { node: 'scripted' });
    const parent = state.checkpoints(model.id).at(-1);
    const step = artifacts.lastStep(model) + 1;
    const hasSignal = wanted.rows.length > 0;
    if (!hasSignal && !behaviour.stepWithoutSignal) {
      this.#end(job);
      return;
    }
    let index = 0;
    const trained = hasSignal
      ? await engine.train({
          ...wanted,
          jobId: job.id,
          modelId: model.id,
          step,
          parent: parent?.folder ?? null,
          onGradientStep: (found) => {
            index += 1;
            const odd = behaviour.oddEvents ? { note: 'text among numbers' } : {};
            this.#say(job, 'gradient_step', { ...wireMetrics(found, index, job.kind), ...metrics, ...odd });
          },
        })
      : { folder: parent?.folder ?? null, files: await engine.identity() };
    const checkpoint = {
      id: randomUUID(),
      modelId: model.id,
      step,
      metrics: metrics['reward'] === undefined ? {} : { 'train/reward': metrics['reward'] },
      folder: trained.folder,
      createdAt: Date.now(),
    };
    state.tables.checkpoints.push(checkpoint);
    artifacts.addLora(model, step, trained.files);
    this.#end(job);
  }

  #prepareRl({ groups, config }: Extract<JobWork, { kind: 'rl' }>): Prepared {
    const { defaults } = this.#parts;
    const scaleRewards = (config.scale_rewards ?? true) && config['normalize_advantages'] !== false;
    const withoutLogprobs = config.allow_training_without_logprobs === true;
    const { rows, groupsTrainable, rewards } = rlRows(groups, { scaleRewards, withoutLogprobs });
    const learningRate = config.learning_rate ?? defaults.learningRate;
    const mean = rewards.reduce((sum, reward) => sum + reward, 0) / Math.max(1, rewards.length);
    const signal = new Set(rows.map((row) => row.groupId)).size;
    return {
      job: {
        rows,
        gradientSteps: Math.max(1, Math.min(defaults.gradientSteps, signal)),
        learningRate,
        loss: engineLoss(config),
      },
      metrics: {
        reward: mean,
        learning_rate: learningRate,
        num_groups_submitted: groups.length,
        num_groups_trainable: groupsTrainable,
        num_trajectories: rewards.length,
        num_trainable_tokens: rows.reduce((sum, row) => sum + row.positions.length, 0),
      },
    };
  }

  async #prepareSft(request: SftJob): Promise<Prepared> {
    const { engine, artifacts, defaults } = this.#parts;
    const examples = parseExamples(artifacts.readDataset(request.training_data_url));
    const { batch_size: size, learning_rate: rate, assistant_turns: turns } = request.config ?? {};
    const batchSize = typeof size === 'number' ? size : 2;
    const rows = await sftRows(examples, { engine, batchSize, turns: turns ?? 'all' });
    const gradientSteps = Math.max(1, Math.ceil(examples.length / batchSize));
    const learningRate = rate ?? defaults.learningRate;
    if (typeof learningRate !== 'number' && learningRate.length !== gradientSteps) {
      throw new UntrainableError(
        `learning_rate has ${String(learningRate.length)} entries for ${String(gradientSteps)} batches.`,
      );
    }
    // Cross-entropy: without a sampler's logprob the ratio is 1, and CISPO's loss −A · log p.
    return { job: { rows, gradientSteps, learningRate, loss: { kind: 'cispo' } }, metrics: {} };
  }

  #say(job: JobRecord, type: string, data: Readonly<Record<string, unknown>>): void {
    job.events.push({ id: randomUUID(), type, data });
    this.#parts.state.save();
  }

  #end(job: JobRecord): void {
    job.status = 'completed';
    this.#say(job, 'training_ended', {});
  }

  #fail(job: JobRecord, message: string): void {
    job.status = 'failed';
    this.#say(job, 'training_failed', message === '' ? {} : { error_message: message });
  }
}

/** The engine's numbers under the service's names. */
function wireMetrics(
  found: Readonly<Record<string, number>>,
  index: number,
  kind: JobRecord['kind'],
): Record<string, number> {
  const { kl, tokens, seconds, policy_loss: policyLoss, ...others } = found;
  const speed = tokens === undefined || seconds === undefined ? {} : { tokens_per_second: tokens / seconds };
  if (kind === 'sft') {
    const { loss = 0, grad_norm: gradNorm = 0 } = found;
    const count = tokens === undefined ? {} : { num_tokens: tokens, num_trainable_tokens: tokens };
    return { gradient_step: index, loss, grad_norm: gradNorm, ...count, ...speed };
  }
  const { loss: total, ...rest } = others;
  return {
    ...rest,
    policy_loss: policyLoss ?? total ?? 0,
    ...(kl === undefined ? {} : { kl_policy_ref: kl }),
    ...speed,
  };
}
