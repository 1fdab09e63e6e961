/** What the stand-in trains and samples with. */
import type { TrainingRow } from '../../trajectory/rows.ts';

/** Weights of one step: the engine's own folder, and the files that go into the artifact. */
export interface TrainedAdapter {
  readonly folder: string;
  readonly files: Readonly<Record<string, Uint8Array>>;
}

export interface EngineJob {
  readonly jobId: string;
  readonly modelId: string;
  readonly step: number;
  /** Folder of the adapter that it goes on from; null: a fresh one. */
  readonly parent: string | null;
  readonly rows: readonly TrainingRow[];
  /** Rows that share a `groupId` stay together; this many parts, in the order of their ids. */
  readonly gradientSteps: number;
  readonly learningRate: number | readonly number[];
  readonly loss: {
    readonly kind: 'cispo' | 'ppo';
    readonly clipLow?: number;
    readonly clipHigh?: number;
    readonly importanceSampling?: 'token' | 'sequence';
    readonly klCoefficient?: number;
    readonly truncatedImportanceSampling?: number | null;
  };
  /** Numbers of one gradient step, under the engine's names. */
  readonly onGradientStep: (metrics: Readonly<Record<string, number>>) => void;
}

export interface ChatTarget {
  readonly modelId: string;
  readonly step: number;
  /** null: the base model, as step 0 is. */
  readonly folder: string | null;
}

export interface WandbEngine {
  /** Ids under which it may be trained; the first is the default. */
  readonly baseModels: readonly string[];
  train(job: EngineJob): Promise<TrainedAdapter>;
  /** The untrained adapter, which changes nothing. */
  identity(): Promise<Readonly<Record<string, Uint8Array>>>;
  /** Ids of the messages, with or without the beginning of an answer. */
  tokenize(options: {
    readonly messages: readonly object[];
    readonly tools: readonly object[] | null;
    readonly addGenerationPrompt: boolean;
  }): Promise<number[]>;
  /** The raw answer, in the OpenAI dialect, whole or as server-sent events. */
  chat(body: Readonly<Record<string, unknown>>, target: ChatTarget, signal: AbortSignal): Promise<Response>;
  close(): Promise<void>;
}
