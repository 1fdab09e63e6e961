/**
 * One base error, one class per cause. Each carries a stable code, whether a retry can help and the next step.
 * Recognise them with `isApprenticeError`, which also works across duplicate copies of the package.
 */
const marker = Symbol.for('apprentice.error');

export type ApprenticeErrorCode =
  | 'invalid_option'
  | 'invalid_record'
  | 'store_failed'
  | 'backend_unavailable'
  | 'environment_failed'
  | 'sidecar_failed'
  | 'service_request_failed'
  | 'training_failed'
  | 'adapter_refused'
  | 'model_call_failed'
  | 'rollout_budget_exceeded'
  | 'reward_timeout'
  | 'judge_failed'
  | 'judge_budget_exceeded'
  | 'aborted';

export interface ApprenticeErrorDetails {
  /** What to do about it, one sentence in the imperative. */
  readonly fix: string;
  readonly cause?: unknown;
  /** Whether the same call can succeed later without a change. Default: false. */
  readonly retryable?: boolean;
}

/** The base of all errors that apprentice throws on purpose. */
export class ApprenticeError extends Error {
  readonly [marker] = true;
  readonly code: ApprenticeErrorCode;
  readonly fix: string;
  readonly retryable: boolean;

  constructor(code: ApprenticeErrorCode, message: string, details: ApprenticeErrorDetails) {
    super(`${message} ${details.fix}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.fix = details.fix;
    this.retryable = details.retryable ?? false;
  }
}

/** Whether `value` is an error of this package, of whichever copy of it. */
export function isApprenticeError(value: unknown): value is ApprenticeError {
  return typeof value === 'object' && value !== null && marker in value;
}

/** An option that the user gave does not fit. Names the field, the value received and the fix. */
export class InvalidOptionError extends ApprenticeError {
  readonly field: string;
  readonly received: unknown;
  constructor(options: { field: string; received: unknown; expected: string; fix: string; cause?: unknown }) {
    super(
      'invalid_option',
      `Option "${options.field}" must be ${options.expected}, but it is ${describe(options.received)}.`,
      options,
    );
    this.field = options.field;
    this.received = options.received;
  }
}

/** A record (trajectory, model call, reward …) does not fit its schema. */
export class InvalidRecordError extends ApprenticeError {
  readonly field: string;
  readonly received: unknown;
  readonly expected: string;
  constructor(options: { field: string; received: unknown; expected: string; fix: string; cause?: unknown }) {
    super(
      'invalid_record',
      `Field "${options.field}" of the record must be ${options.expected}, but it is ${describe(options.received)}.`,
      options,
    );
    this.field = options.field;
    this.received = options.received;
    this.expected = options.expected;
  }
}

/** The store could not read or write. */
export class StoreError extends ApprenticeError {
  constructor(message: string, details: ApprenticeErrorDetails) {
    super('store_failed', message, details);
  }
}

/** The backend cannot be reached or has given up. The user's own model calls go to the incumbent meanwhile. */
export class BackendUnavailableError extends ApprenticeError {
  constructor(message: string, details: ApprenticeErrorDetails) {
    super('backend_unavailable', message, { retryable: true, ...details });
  }
}

/** Python, pip or a package is missing or broken. */
export class EnvironmentError extends ApprenticeError {
  constructor(message: string, details: ApprenticeErrorDetails) {
    super('environment_failed', message, details);
  }
}

/** The sidecar process ended or answered with an error; holds the last lines that it wrote. */
export class SidecarError extends ApprenticeError {
  /** The sidecar's own error code, for instance `training_busy`. */
  readonly sidecarCode: string | undefined;
  readonly stderrTail: string | undefined;
  constructor(
    message: string,
    details: ApprenticeErrorDetails & { sidecarCode?: string; stderrTail?: string },
  ) {
    super('sidecar_failed', message, details);
    this.sidecarCode = details.sidecarCode;
    this.stderrTail = details.stderrTail;
  }
}

/** A request to the training service failed: what was asked, what it answered, whether it may have been done all the same. */
export class ServiceRequestError extends ApprenticeError {
  /** HTTP status; undefined where no answer came. */
  readonly status: number | undefined;
  /** What the service said, as text. */
  readonly detail: string | undefined;
  /** Method and URL, without any key. */
  readonly request: string;
  /** Whether the service may have done what was asked, although no good answer came. */
  readonly mayBeDone: boolean;
  /** How long the service asks to wait. */
  readonly retryAfterMs: number | undefined;
  constructor(
    message: string,
    details: ApprenticeErrorDetails & {
      request: string;
      status?: number;
      detail?: string;
      mayBeDone?: boolean;
      retryAfterMs?: number;
    },
  ) {
    super('service_request_failed', message, details);
    this.status = details.status;
    this.detail = details.detail;
    this.request = details.request;
    this.mayBeDone = details.mayBeDone ?? false;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** A training job failed; the last published step keeps serving. */
export class TrainingFailedError extends ApprenticeError {
  constructor(message: string, details: ApprenticeErrorDetails) {
    super('training_failed', message, details);
  }
}

/** An adapter is corrupt, foreign or failed its canary; the old one keeps serving. */
export class AdapterRefusedError extends ApprenticeError {
  constructor(message: string, details: ApprenticeErrorDetails) {
    super('adapter_refused', message, details);
  }
}

/** More rollouts failed than the error budget allows. */
export class RolloutBudgetExceededError extends ApprenticeError {
  constructor(message: string, details: ApprenticeErrorDetails) {
    super('rollout_budget_exceeded', message, details);
  }
}

/** A reward gave no answer in time; the rollout goes without a score. */
export class RewardTimeoutError extends ApprenticeError {
  constructor(name: string, timeoutMs: number) {
    super('reward_timeout', `Reward "${name}" gave no answer within ${String(timeoutMs)} ms.`, {
      fix: 'Make it faster, or raise its `timeoutMs`.',
    });
  }
}

/** A judge could not be reached, or its answers could not be used; nothing was scored by guess. */
export class JudgeError extends ApprenticeError {
  constructor(message: string, details: ApprenticeErrorDetails) {
    super('judge_failed', message, details);
  }
}

/** A judge has spent what it was allowed to. Ends the run, which can be resumed. */
export class JudgeBudgetExceededError extends ApprenticeError {
  constructor(message: string, details: ApprenticeErrorDetails) {
    super('judge_budget_exceeded', message, details);
  }
}

/** The caller's AbortSignal ended the work. */
export class AbortedError extends ApprenticeError {
  constructor(what: string, cause?: unknown) {
    super('aborted', `${what} was aborted.`, {
      fix: 'Start it again to resume at the last published step.',
      cause,
    });
  }
}

function describe(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'string') return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  if (typeof value === 'function') return 'a function';
  try {
    const text = JSON.stringify(value);
    return text.length > 80 ? `${text.slice(0, 80)}…` : text;
  } catch {
    return `a value of type ${typeof value}`;
  }
}
