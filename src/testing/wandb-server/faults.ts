/** Failures on demand. A fault meets the next requests that fit, as often as it says. */
export type Fault =
  /** The edge gave up: HTML, while the server may go on. */
  | { readonly kind: 'html-524' }
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly detail?: unknown;
      readonly headers?: Readonly<Record<string, string>>;
    }
  | { readonly kind: 'rate-limit'; readonly retryAfterSeconds: number }
  /** A careless server: sends the request's headers back in its error. */
  | { readonly kind: 'echo-headers' }
  /** The connection ends before the server has done anything. */
  | { readonly kind: 'drop-before' }
  /** The server does its work, and the connection ends before the answer. */
  | { readonly kind: 'drop-after' }
  /** No answer comes. */
  | { readonly kind: 'hang' };

export interface FaultRule {
  readonly method?: string;
  /** Part of the path. */
  readonly path: string;
  readonly fault: Fault;
  /** Default: 1. */
  readonly times?: number;
}

export class Faults {
  #rules: { readonly rule: FaultRule; left: number }[] = [];

  add(rule: FaultRule): void {
    this.#rules.push({ rule, left: rule.times ?? 1 });
  }

  clear(): void {
    this.#rules = [];
  }

  /** The fault that this request meets; uses it up. */
  take(method: string, path: string): Fault | undefined {
    const found = this.#rules.find(
      ({ rule, left }) =>
        left > 0 && path.includes(rule.path) && (rule.method === undefined || rule.method === method),
    );
    if (found === undefined) return undefined;
    found.left -= 1;
    return found.rule.fault;
  }
}

/** How the service behaves where its documents are silent, or where it was seen to misbehave. All switchable. */
export interface Behaviour {
  /** What becomes of jobs. Default: 'train'. */
  jobs: 'train' | 'fail' | 'fail-without-message' | 'stall';
  /** Whether a job without a trainable group makes a step all the same. Default: false. */
  stepWithoutSignal: boolean;
  /** Gives `training_started` again with every page of events. Default: false. */
  repeatStarted: boolean;
  /** Puts an event of an unknown type, and one with text among its numbers, into each job. Default: false. */
  oddEvents: boolean;
  /** Leaves `run_id` out, as older servers do. Default: false. */
  withoutRunId: boolean;
  /** Milliseconds by which the list of checkpoints lags behind the end of a job. Default: 0. */
  checkpointLagMs: number;
  /** What the events of an unknown job are: 404 or an empty page. Default: 404. */
  unknownJob: 'not-found' | 'empty';
}

export const usualBehaviour: Behaviour = {
  jobs: 'train',
  stepWithoutSignal: false,
  repeatStarted: false,
  oddEvents: false,
  withoutRunId: false,
  checkpointLagMs: 0,
  unknownJob: 'not-found',
};
