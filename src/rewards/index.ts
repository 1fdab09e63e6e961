/** `apprentice/rewards`: what a rollout was worth. */
export { codeReward } from './code-reward.ts';
export { weightedSum } from './score.ts';
export type { ComponentScore, Score, Scorer, WeightedReward } from './score.ts';
export type { RewardFunction, RewardInput, RewardValue, Scenario } from './reward.ts';
