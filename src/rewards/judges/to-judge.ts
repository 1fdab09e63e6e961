import { aiSdkJudge, isAiSdkModel, type AiSdkModelLike } from './ai-sdk-judge.ts';
import type { Judge } from './judge.ts';

/** A judge, or a language model of the AI SDK (not a wrapped one: judging is not part of what is learnt). */
export type JudgeLike = Judge | AiSdkModelLike;

export function toJudge(judge: JudgeLike): Judge {
  return isAiSdkModel(judge) ? aiSdkJudge(judge) : judge;
}
