/** The pieces whose shape differs between V2, V3 and V4. */
import type { WireUsage } from '../../../capture/wire/schema.ts';
import type { SpecificationVersion } from '../specification.ts';
import type { Unsupported } from './unsupported.ts';

const reasons: Readonly<Record<string, string>> = {
  stop: 'stop',
  length: 'length',
  tool_calls: 'tool-calls',
  content_filter: 'content-filter',
  error: 'error',
};

export function finishReason(version: SpecificationVersion, raw: string | null | undefined): unknown {
  const unified = reasons[raw ?? ''] ?? (version === 'v2' && raw == null ? 'unknown' : 'other');
  return version === 'v2' ? unified : { unified, raw: raw ?? undefined };
}

export function usage(version: SpecificationVersion, wire: WireUsage | null | undefined): unknown {
  const input = wire?.prompt_tokens ?? undefined;
  const output = wire?.completion_tokens ?? undefined;
  const cached = wire?.prompt_tokens_details?.cached_tokens ?? undefined;
  const reasoning = wire?.completion_tokens_details?.reasoning_tokens ?? undefined;
  if (version === 'v2') {
    return {
      inputTokens: input,
      outputTokens: output,
      totalTokens: input === undefined || output === undefined ? undefined : input + output,
      reasoningTokens: reasoning,
      cachedInputTokens: cached,
    };
  }
  return {
    inputTokens: {
      total: input,
      noCache: input === undefined ? undefined : input - (cached ?? 0),
      cacheRead: cached,
      cacheWrite: undefined,
    },
    outputTokens: {
      total: output,
      text: output === undefined ? undefined : output - (reasoning ?? 0),
      reasoning,
    },
  };
}

export function warnings(version: SpecificationVersion, found: readonly Unsupported[]): unknown[] {
  return found.map((one) => {
    if (version !== 'v2')
      return {
        type: 'unsupported',
        feature: one.kind === 'tool' ? `provider-defined tool ${one.tool.name}` : one.name,
      };
    switch (one.kind) {
      case 'setting':
        return { type: 'unsupported-setting', setting: one.name };
      case 'tool':
        return { type: 'unsupported-tool', tool: one.tool };
      case 'content':
        return { type: 'other', message: `The policy cannot read ${one.name}; it was left out.` };
      default:
        return one satisfies never;
    }
  });
}
