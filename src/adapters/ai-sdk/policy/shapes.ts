/** The pieces whose shape differs between V2, V3 and V4. */
import type { SpecificationVersion } from '../specification.ts';

const reasons: Readonly<Record<string, string>> = {
  stop: 'stop',
  length: 'length',
  tool_calls: 'tool-calls',
  content_filter: 'content-filter',
};

export function finishReason(version: SpecificationVersion, raw: string | null | undefined): unknown {
  const unified = reasons[raw ?? ''] ?? 'other';
  return version === 'v2' ? unified : { unified, raw: raw ?? undefined };
}

export interface WireUsage {
  readonly prompt_tokens?: number | undefined;
  readonly completion_tokens?: number | undefined;
}

export function usage(version: SpecificationVersion, wire: WireUsage | null | undefined): unknown {
  const input = wire?.prompt_tokens;
  const output = wire?.completion_tokens;
  if (version === 'v2') {
    const total = input === undefined || output === undefined ? undefined : input + output;
    return { inputTokens: input, outputTokens: output, totalTokens: total };
  }
  return {
    inputTokens: { total: input, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
    outputTokens: { total: output, text: output, reasoning: undefined },
  };
}

export function warnings(version: SpecificationVersion, settings: readonly string[]): unknown[] {
  return settings.map((setting) =>
    version === 'v2' ? { type: 'unsupported-setting', setting } : { type: 'unsupported', feature: setting },
  );
}
