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
  TrainingEvent,
  TrainingGroup,
  TrainingJob,
} from './backends/backend.ts';
export type { CaptureCounters, RunOptions } from './capture/capture.ts';
export {
  AbortedError,
  AdapterRefusedError,
  ApprenticeError,
  BackendUnavailableError,
  EnvironmentError,
  InvalidOptionError,
  InvalidRecordError,
  isApprenticeError,
  RolloutBudgetExceededError,
  ServiceRequestError,
  SidecarError,
  StoreError,
  TrainingFailedError,
} from './errors.ts';
export type { ApprenticeErrorCode } from './errors.ts';
export type { Feedback, FeedbackOptions } from './rewards/feedback/feedback.ts';
export { openSqliteStore } from './store/sqlite/index.ts';
export type { Store, TrajectoryQuery } from './store/store.ts';
export type { Evaluation } from './training/evaluation.ts';
export type { StepReport, TrainEvent } from './training/loop.ts';
export type { Rollout, RolloutContext, RolloutLimits } from './training/rollouts.ts';
export type { RolloutProgress, TrainOptions } from './training/settings.ts';
export type { Mean, Proportion } from './training/statistics.ts';
export type { FeedbackReceipt, FeedbackRecord, FeedbackTarget } from './trajectory/feedback.ts';
export type { Group, ModelCall, Reward, ScoredTrajectory, Trajectory } from './trajectory/records.ts';
