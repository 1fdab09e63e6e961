/** Supervised fine-tuning: the examples as the service reads them, and what is asked of it. Pure. */
import { createHash } from 'node:crypto';
import { InvalidOptionError } from '../../errors.ts';
import type { SftConfig } from './wire.ts';

export interface SupervisedMessage {
  readonly role: 'developer' | 'system' | 'user' | 'assistant' | 'tool';
  readonly content?: unknown;
  readonly tool_calls?: readonly unknown[];
  readonly tool_call_id?: string;
}

export interface SupervisedExample {
  /** Ends with the assistant's answer. */
  readonly messages: readonly SupervisedMessage[];
  readonly tools?: readonly unknown[];
}

export interface SupervisedOptions {
  readonly examples: readonly SupervisedExample[];
  /** Examples of one gradient step. Default: the service's choice. */
  readonly batchSize?: number;
  /** One, or one for each batch (then `batchSize` is needed). Default: 5e-5. */
  readonly learningRate?: number | readonly number[];
  /** Whether all of an example's answers are learnt, or its last one. Default: 'all'. */
  readonly assistantTurns?: 'all' | 'last';
}

export interface Dataset {
  /** `train.jsonl`: one example a line. */
  readonly text: string;
  /** 12 hex digits of its content's digest: the same examples make the same artifact. */
  readonly key: string;
}

const defaultLearningRate = 5e-5;

/** Throws InvalidOptionError that names the example. */
export function toDataset({ examples }: SupervisedOptions): Dataset {
  if (examples.length === 0)
    throw refuse('examples', [], 'at least one example', 'Pass the chats to learn from.');
  const lines = examples.map(({ messages, tools }, index) => {
    if (messages.at(-1)?.role !== 'assistant') {
      throw refuse(
        `examples[${String(index)}].messages`,
        messages.at(-1)?.role,
        'a chat whose last message is the assistant’s',
        'Cut what comes after the answer that is to be learnt.',
      );
    }
    const cleaned = messages.map(({ content, tool_calls: calls, ...others }) => ({
      ...others,
      content: content ?? '',
      ...(calls === undefined || calls.length === 0 ? {} : { tool_calls: calls }),
    }));
    return JSON.stringify({
      messages: cleaned,
      ...(tools === undefined || tools.length === 0 ? {} : { tools }),
    });
  });
  const text = `${lines.join('\n')}\n`;
  return { text, key: createHash('sha256').update(text).digest('hex').slice(0, 12) };
}

/** Throws InvalidOptionError. `step`: the one that the job is to make. */
export function toSftConfig(options: SupervisedOptions, step: number, logMetrics: boolean): SftConfig {
  const { examples, batchSize, learningRate = defaultLearningRate, assistantTurns } = options;
  if (batchSize !== undefined && !(Number.isInteger(batchSize) && batchSize >= 1))
    throw refuse('batchSize', batchSize, 'a whole number from 1', 'Leave it out to let the service choose.');
  const rates = typeof learningRate === 'number' ? [learningRate] : learningRate;
  if (!rates.every((rate) => Number.isFinite(rate) && rate > 0))
    throw refuse('learningRate', learningRate, 'above 0', 'The service’s usual one is 5e-5.');
  if (typeof learningRate !== 'number') {
    const batches = batchSize === undefined ? undefined : Math.ceil(examples.length / batchSize);
    if (batches !== rates.length) {
      throw refuse(
        'learningRate',
        rates.length,
        batches === undefined
          ? 'one number where `batchSize` is left out'
          : `a list of ${String(batches)}, one for each batch`,
        'Give `batchSize` and one rate for each batch, or one number.',
      );
    }
  }
  return {
    learning_rate: learningRate,
    ...(batchSize === undefined ? {} : { batch_size: batchSize }),
    // Only where it is asked for: older services do not know the field.
    ...(assistantTurns === undefined ? {} : { assistant_turns: assistantTurns }),
    ...(logMetrics ? { metric_logging: { enabled: true as const, target_training_step: step } } : {}),
  };
}

function refuse(field: string, received: unknown, expected: string, fix: string): InvalidOptionError {
  return new InvalidOptionError({ field: `fineTune.${field}`, received, expected, fix });
}
