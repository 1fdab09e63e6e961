/** The backend contract: what serves policies and trains them. */

/** Per-token training data of one sequence. Arrays of equal length N = number of trained tokens, but `tokenIds`. */
export interface TrainingRow {
  readonly rowId: string;
  readonly groupId: string;
  /** The whole sequence, prompt and completions, S ids. */
  readonly tokenIds: readonly number[];
  /** Indices into `tokenIds` of the sampled tokens, ascending, each in [1, S). */
  readonly positions: readonly number[];
  readonly logprobs: readonly (number | null)[];
  readonly advantages: readonly number[];
  readonly weights: readonly number[];
}

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

export interface TrainingJob {
  /** The same id with the same content is never trained twice. */
  readonly jobId: string;
  readonly name: string;
  /** The step that this job makes. */
  readonly step: number;
  /** Folder of the adapter that it starts from; null for a fresh one. */
  readonly parentFolder: string | null;
  readonly rows: readonly TrainingRow[];
  readonly loss?: LossOptions;
  readonly optimizer?: OptimizerOptions;
  readonly lora?: LoraOptions;
}

export interface AdapterRef {
  readonly name: string;
  readonly step: number;
  readonly folder: string;
  readonly digest: string;
}

export type TrainingEvent =
  | {
      readonly type: 'started';
      readonly rows: number;
      readonly tokens: number;
      readonly trainedTokens: number;
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
  readonly identity: ServedIdentity;
}

export interface ServedIdentity {
  readonly baseModel: string;
  readonly baseDigest: string;
  readonly tokenizerDigest: string;
  readonly chatTemplateDigest: string;
  readonly contextLength: number;
}

export interface CanaryReport {
  readonly tokens: number;
  /** Mean and maximum of |served − trainer| in nats, over the canary's tokens. */
  readonly meanGap: number;
  readonly maxGap: number;
  /** Mean |base − trainer|: above 0 shows that the adapter does something. */
  readonly baseGap: number;
}

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

export interface RunningBackend {
  /** Where to send model calls; waits for a restart that is under way. Throws BackendUnavailableError. */
  endpoint(signal?: AbortSignal): Promise<Endpoint>;
  /** Trains; the last event is `ended`. Throws TrainingFailedError; AbortedError after `signal`. */
  train(job: TrainingJob, signal?: AbortSignal): AsyncIterable<TrainingEvent>;
  /** Loads, verifies (canary) and publishes `name@step`. Throws AdapterRefusedError; older steps go on serving. */
  publish(adapter: {
    readonly name: string;
    readonly step: number;
    readonly folder: string;
  }): Promise<CanaryReport>;
  /** Stops serving a step; requests in flight on it finish. */
  retire(ref: { readonly name: string; readonly step: number }): Promise<void>;
  /** Complete, intact adapters of this name on disk, by ascending step. */
  adapters(): Promise<readonly AdapterRef[]>;
  close(): Promise<void>;
}

export interface Backend {
  readonly kind: 'local' | 'serverless';
  /** Checks that every option can be honoured; throws InvalidOptionError before anything runs. */
  validate(options: {
    readonly loss?: LossOptions;
    readonly optimizer?: OptimizerOptions;
    readonly lora?: LoraOptions;
  }): void;
  start(context: BackendContext): Promise<RunningBackend>;
}
