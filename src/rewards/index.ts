/** `apprentice/rewards`: what a rollout was worth. */
export { commandReward, type CommandOutput, type CommandRewardOptions } from './checks/command.ts';
export { validJson, type StandardSchemaLike } from './checks/json.ts';
export { exactMatch, fuzzyMatch, patternMatch, type MatchOptions } from './checks/match.ts';
export { costPenalty, lengthPenalty, type PenaltyOptions } from './checks/penalties.ts';
export type { Subject } from './checks/subject.ts';
export { forbiddenTools, requiredTools, toolSuccess } from './checks/tools.ts';
export { callReward, codeReward, type CodeResult, type CodeRewardOptions } from './code-reward.ts';
export type { FeedbackAggregation, MaturityRule } from './feedback/aggregate.ts';
export { folderCache, memoryCache, type JudgeCache } from './judges/cache.ts';
export type { Judge, JudgeAnswer, JudgeMessage, JudgeRequest } from './judges/judge.ts';
export { openaiJudge, type OpenAIJudgeOptions } from './judges/openai-judge.ts';
export { pairwiseJudge, type PairwiseJudgeOptions } from './judges/pairwise.ts';
export { rubricJudge, type RubricJudgeOptions } from './judges/rubric.ts';
export type { JudgeSpending, Spent } from './judges/session.ts';
export type { JudgeLike } from './judges/to-judge.ts';
export type { Alarm, AlarmKind, AlarmOptions } from './report/alarms.ts';
export type { Correlation } from './report/correlation.ts';
export type { Features } from './report/features.ts';
export type { ComponentReport } from './report/component.ts';
export { rewardReport, type RewardReport, type RewardReportOptions } from './report/report.ts';
export { defaultRubric } from './ruler/prompt.ts';
export { ruler, type Ruler, type RulerOptions } from './ruler/ruler.ts';
export type { Clamp, Component, Gate, PartialScore, Score, Term } from './score.ts';
export { weightedSum, type RewardEntry, type Scorer, type WeightedSumOptions } from './scorer.ts';
export type {
  AnyReward,
  CallReward,
  CallRewardValue,
  GroupReward,
  GroupRewardInput,
  RewardFunction,
  RewardInput,
  RewardValue,
  Scenario,
} from './reward.ts';
export type { ModelPrice, ModelPrices } from '../pricing/price-book.ts';
export { aggregateFeedback, isMature } from './feedback/aggregate.ts';
export { historiesOf, type History } from '../trajectory/histories.ts';
export {
  finalText,
  textOf,
  toolCalls,
  toolResults,
  totalsOf,
  writtenText,
  type ToolCallView,
  type Totals,
} from '../trajectory/views.ts';
