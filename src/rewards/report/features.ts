/** What a reward can be gamed by, measured on a trajectory. Pure. */
import { finalText, toolCalls, toolResults, totalsOf, writtenText } from '../../trajectory/views.ts';
import type { Trajectory } from '../../trajectory/records.ts';

export interface Features {
  /** Tokens that the models wrote; characters where no usage is known. */
  readonly length: number;
  /** The share of runs of four words that were written before, in [0, 1]. */
  readonly repetition: number;
  /** 1 where the last answer declines the task, else 0. */
  readonly refusal: number;
  readonly toolCalls: number;
  /** Calls of a tool with the very same arguments as a call before. */
  readonly repeatedToolCalls: number;
  readonly toolErrors: number;
}

export const featureNames = [
  'length',
  'repetition',
  'refusal',
  'toolCalls',
  'repeatedToolCalls',
  'toolErrors',
] as const satisfies readonly (keyof Features)[];

export function featuresOf(trajectory: Trajectory, isRefusal: (text: string) => boolean): Features {
  const text = writtenText(trajectory);
  const { outputTokens } = totalsOf(trajectory);
  const calls = toolCalls(trajectory).map((call) => `${call.name} ${call.arguments}`);
  return {
    length: outputTokens > 0 ? outputTokens : text.length,
    repetition: repetition(text),
    refusal: Number(isRefusal(finalText(trajectory))),
    toolCalls: calls.length,
    repeatedToolCalls: calls.length - new Set(calls).size,
    toolErrors: toolResults(trajectory).filter((result) => result.error !== undefined).length,
  };
}

const refusals =
  /\b(i(?:'|’)?m (?:sorry|afraid|unable)|i (?:can(?:'|’)?t|cannot|can not|won(?:'|’)?t|am unable to|am not able to|must decline)\b|as an ai\b|unable to (?:help|assist|comply))/i;

/** By the usual English phrases. Give a function of your own for other languages. */
export function looksLikeRefusal(text: string): boolean {
  // A refusal says so at its beginning.
  return refusals.test(text.slice(0, 200));
}

function repetition(text: string): number {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  const grams = Math.max(0, words.length - 3);
  if (grams === 0) return 0;
  const distinct = new Set(Array.from({ length: grams }, (_, at) => words.slice(at, at + 4).join(' ')));
  return 1 - distinct.size / grams;
}
