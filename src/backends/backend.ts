/**
 * The backend contract: what serves policies and trains them. One suite (`src/backends/contract.ts`) tests every
 * implementation.
 */
import type { PolicyRef } from '../trajectory/ids.ts';
import type { Trajectory } from '../trajectory/records.ts';

export interface LossOptions {
  /** Default: 'cispo' (MiniMax-M1, arXiv 2506.13585). */
  readonly kind?: 'cispo' | 'ppo';
  readonly clipLow?: number;
  readonly clipHigh?: number;
  readonly importanceSampling?: 'token' | 'sequence';
  readonly klCoefficient?: number;
  readonly truncatedImportanceSampling?: number | null;
  readonly entropyCoefficient?: number;
}

export interface OptimizerOptions {
  /** Default: 1e-4. */
  readonly learningRate?: number;
  readonly betas?: readonly [number, number];
  readonly weightDecay?: number;
  readonly maxGradNorm?: number;
  readonly epochs?: number;
  readonly gradientSteps?: number;
  readonly tokensPerBatch?: number;
}

export interface LoraOptions {
  /** Default: 8. */
  readonly rank?: number;
  /** Default: twice the rank. */
  readonly alpha?: number;
  /** Default: all linear layers but the head. */
  readonly targetModules?: readonly string[];
  readonly seed?: number;
}

/** A trajectory in its group, judged. */
export interface GroupMember {
  readonly trajectory: Trajectory;
  /** The one number that the trajectory was judged by. */
  readonly reward: number;
  /** What the trainer made of it within its group; each sampled token gets it. */
  readonly advantage: number;
  /** By call id, what the tokens of a call get beside it: from rewards for single calls. */
  readonly callAdvantages?: ReadonlyMap<string, number>;
  /** Of sub-agents with runs of their own: they share its advantage. */
  readonly children?: readonly Trajectory[];
}

/** Attempts at one scenario, all that were judged: also those whose advantage is 0, on which the others rest. */
export interface TrainingGroup {
  readonly groupId: string;
  readonly members: readonly GroupMember[];
}

/** How advantages come from rewards: for backends whose service computes them itself. */
export interface AdvantageOptions {
  /**
   * Divide by the group's population standard deviation. Default: false, because it weighs groups that are nearly
   * solved or nearly hopeless more than others (Dr. GRPO, arXiv 2503.20783).
   */
  readonly scaleByStandardDeviation?: boolean;
}

/** What a backend can be asked to train with. */
export interface TrainingSettings {
  readonly advantages?: AdvantageOptions;
  readonly loss?: LossOptions;
  readonly optimizer?: OptimizerOptions;
  readonly lora?: LoraOptions;
}

/**
 * One step's training, as groups: a backend that executes a loss takes the advantages, one whose service computes them
 * takes the rewards.
 */
export interface TrainingJob extends TrainingSettings {
  /** The same id with the same content is never trained twice. */
  readonly jobId: string;
  readonly name: string;
  /** The step that this job makes. */
  readonly step: number;
  /** The adapter that it starts from; null: a fresh one. */
  readonly parent: AdapterRef | null;
  readonly groups: readonly TrainingGroup[];
}

/** A finished step of an adapter. */
export interface AdapterRef extends PolicyRef {
  /** Where its weights lie: a folder, or the service's immutable name. */
  readonly location: string;
  /** Tells these weights from all others: a digest, or the service's id. */
  readonly version: string;
}

export type TrainingEvent =
  | {
      readonly type: 'started';
      /** Gradient steps to come, where it is known. */
      readonly gradientSteps?: number;
    }
  | {
      readonly type: 'gradient-step';
      readonly index: number;
      readonly of: number;
      readonly metrics: Readonly<Record<string, number>>;
    }
  | {
      readonly type: 'ended';
      readonly adapter: AdapterRef;
      readonly metrics: Readonly<Record<string, number>>;
    };

/** How to reach a served policy: an OpenAI-dialect endpoint. */
export interface Endpoint {
  /** Ends in `/v1`. */
  readonly baseUrl: string;
  readonly apiKey: string;
  /** What to ask for as `model`. */
  readonly model: string;
  readonly identity: ServedIdentity;
  /** Sends the requests. Default: the global one. */
  readonly fetch?: typeof fetch;
}

/** What answers, as far as the backend can tell. */
export interface ServedIdentity {
  readonly baseModel: string;
  readonly baseDigest?: string;
  readonly tokenizerDigest?: string;
  readonly chatTemplateDigest?: string;
  /** Tokens, prompt and answer together. */
  readonly contextLength?: number;
}

/** What was seen of a step before it was published. `tokens`: how many of them were looked at. */
export type CanaryReport =
  | {
      readonly against: 'trainer';
      readonly tokens: number;
      /** Mean and maximum of |served − trainer| in nats, over the canary's tokens. */
      readonly meanGap: number;
      readonly maxGap: number;
      /** Mean |base − trainer|: above 0 shows that the adapter does something. */
      readonly baseGap: number;
    }
  | {
      /** The trainer's logprobs cannot be had: the step answers under its own name, and otherwise than the base. */
      readonly against: 'base';
      readonly tokens: number;
      /**
       * Mean |served − base| in nats of the likeliest tokens, up to and with the first at which the two part; 0 where the
       * step changed nothing there.
       */
      readonly baseGap: number;
    };

export type BackendProgress = (event: {
  readonly stage: 'environment' | 'start' | 'model';
  readonly message: string;
  /** Between 0 and 1 where it is known. */
  readonly fraction?: number;
}) => void;

export interface BackendContext {
  readonly project: string;
  readonly name: string;
  readonly baseModel: string;
  /** The folder that holds this project's data, `.apprentice` by default. */
  readonly folder: string;
  readonly onProgress?: BackendProgress;
  readonly signal?: AbortSignal;
}

/** A step of an adapter, or the bare base model. */
export type PolicyTarget = PolicyRef | 'base';

export interface RunningBackend {
  /**
   * Where to send model calls, and under which name; waits for a restart that is under way. Throws AdapterRefusedError
   * for a step that is not published, BackendUnavailableError.
   */
  endpoint(policy: PolicyTarget, signal?: AbortSignal): Promise<Endpoint>;
  /**
   * Trains; the last event is `ended`. A job that was begun before, by its id, is followed to its end and not trained
   * again. Throws TrainingFailedError, after which there is no new step; AbortedError after `signal`.
   */
  train(job: TrainingJob, signal?: AbortSignal): AsyncIterable<TrainingEvent>;
  /** Verifies a step, then publishes it. Throws AdapterRefusedError; older steps go on serving. */
  publish(adapter: AdapterRef): Promise<CanaryReport>;
  /** Stops serving a step, whose weights stay; requests in flight on it finish. */
  retire(policy: PolicyRef): Promise<void>;
  /** Complete, intact steps of this adapter, ascending, published or not. */
  adapters(): Promise<readonly AdapterRef[]>;
  /** Ends what was started. Idempotent. */
  close(): Promise<void>;
}

/** `R`: what it is once it runs, with what only this kind can do. */
export interface Backend<R extends RunningBackend = RunningBackend> {
  readonly kind: 'local' | 'serverless';
  /** Checks that every option can be honoured; throws InvalidOptionError before anything runs. */
  validate(
    options: TrainingSettings & {
      readonly concurrency?: number;
      /** Whether there are rewards for single calls: some services know only those of whole trajectories. */
      readonly callRewards?: boolean;
    },
  ): void;
  start(context: BackendContext): Promise<R>;
}
