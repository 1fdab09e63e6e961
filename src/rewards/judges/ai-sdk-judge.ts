/** A judge that is a language model of the AI SDK (5, 6, 7), taken by its shape: nothing of `ai` is imported. */
import { JudgeError } from '../../errors.ts';
import type { Usage } from '../../trajectory/records.ts';
import type { Judge } from './judge.ts';

/** What is needed of a language model of specification V2, V3 or V4. */
export interface AiSdkModelLike {
  readonly specificationVersion: string;
  readonly provider: string;
  readonly modelId: string;
  // A method on purpose: models declare narrower options, and must still fit.
  doGenerate(options: never): PromiseLike<AiSdkResultLike>;
}

interface AiSdkResultLike {
  readonly content: readonly { readonly type: string }[];
  readonly finishReason: unknown;
  readonly usage: unknown;
}

export function isAiSdkModel(value: object): value is AiSdkModelLike {
  return 'specificationVersion' in value && 'doGenerate' in value;
}

/** Asks the model once; retries are its provider's and the caller's business. */
export function aiSdkJudge(model: AiSdkModelLike): Judge {
  return {
    model: model.modelId,
    provider: model.provider,
    async ask({ messages, schema, schemaName, signal }) {
      const options = {
        prompt: messages.map(({ role, content }) =>
          role === 'system' ? { role, content } : { role, content: [{ type: 'text', text: content }] },
        ),
        responseFormat: { type: 'json', schema, name: schemaName },
        abortSignal: signal,
      };
      let result: AiSdkResultLike;
      try {
        result = await model.doGenerate(options as never);
      } catch (error) {
        throw new JudgeError(`The judge ${model.modelId} failed: ${String(error)}.`, {
          fix: 'Check its account and its limits; the same call can be made again.',
          cause: error,
        });
      }
      const text = result.content
        .map((part) => (part.type === 'text' && 'text' in part ? String(part.text) : ''))
        .join('');
      return { text, truncated: finish(result.finishReason) === 'length', usage: usageOf(result.usage) };
    },
  };
}

/** A word, or since V3 an object with a unified word. */
function finish(reason: unknown): unknown {
  return typeof reason === 'object' && reason !== null && 'unified' in reason ? reason.unified : reason;
}

/** Flat in V2, nested since V3. */
function usageOf(usage: unknown): Usage {
  const input = field(usage, 'inputTokens');
  const inputTokens = count(field(input, 'total') ?? input);
  const output = field(usage, 'outputTokens');
  const outputTokens = count(field(output, 'total') ?? output);
  const cachedInputTokens = count(field(input, 'cacheRead') ?? field(usage, 'cachedInputTokens'));
  return {
    ...(inputTokens === undefined ? {} : { inputTokens }),
    ...(outputTokens === undefined ? {} : { outputTokens }),
    ...(cachedInputTokens === undefined ? {} : { cachedInputTokens }),
  };
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (Reflect.get(value, key) as unknown) : undefined;
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : undefined;
}
