/** `apprentice`: the public entry. Adapters, backends and rewards have entries of their own. */
export { Apprentice, createApprentice } from './apprentice.ts';
export type { ApprenticeOptions, ApprenticeStatus } from './apprentice.ts';
export type {
  AdapterRef,
  Backend,
  CanaryReport,
  LoraOptions,
  LossOptions,
  OptimizerOptions,
  RunningBackend,
  TrainingSettings,
  TrainingEvent,
  TrainingGroup,
  TrainingJob,
} from './backends/backend.ts';
export type { CaptureCounters, RunOptions, SideCallFacts, SideCallRule } from './capture/capture.ts';
export {
  AbortedError,
  AdapterRefusedError,
  ApprenticeError,
  BackendUnavailableError,
  EnvironmentError,
  InvalidOptionError,
  InvalidRecordError,
  isApprenticeError,
  JudgeBudgetExceededError,
  JudgeError,
  RewardTimeoutError,
  RolloutBudgetExceededError,
  ServiceRequestError,
  SidecarError,
  StoreError,
  TrainingFailedError,
} from './errors.ts';
export type { ApprenticeErrorCode } from './errors.ts';
export type { ModelPrice, ModelPrices } from './pricing/price-book.ts';
export type { Feedback, FeedbackOptions } from './rewards/feedback/feedback.ts';
export { openSqliteStore } from './store/sqlite/index.ts';
export type { Store, TrajectoryQuery } from './store/store.ts';
export type { Evaluation } from './training/evaluation.ts';
export type { StepReport, TrainEvent } from './training/events.ts';
export type {
  LeftOut,
  NoSignal,
  RecordedGroup,
  RecordedGroups,
  RecordedRules,
  RecordedTerm,
} from './training/recorded/recorded-groups.ts';
export type { RecordedStep, RecordedTrainOptions } from './training/recorded/train-on-recorded.ts';
export type { AfterEach } from './training/rollouts/run-rollouts.ts';
export type { RolloutOptions, RolloutRun } from './training/rollouts/collect.ts';
export type { FailureClass, RetryOptions } from './training/rollouts/retry.ts';
export type {
  FinishedGroup,
  FinishedRollout,
  LiveMeans,
  Rollout,
  RolloutContext,
  RolloutLimits,
  RolloutSpending,
} from './training/rollouts/rollout.ts';
export type { RolloutProgress, TrainOptions } from './training/settings.ts';
export type { Mean, Proportion } from './training/statistics.ts';
export type { FeedbackReceipt, FeedbackRecord, FeedbackTarget } from './trajectory/feedback.ts';
export type { Group, ModelCall, Reward, ScoredTrajectory, Trajectory } from './trajectory/records.ts';
