/** Starts runs, closes them, and hands what they became to the sink. */
import { v7 as timeOrderedId } from 'uuid';
import type { RunOptions, TrajectorySink } from './capture.ts';
import type { FaultCounter } from './faults.ts';
import type { Route, Router } from './route.ts';
import { ActiveRun } from './run.ts';
import { currentRun } from './scope.ts';

export interface RecorderOptions {
  readonly project: string;
  readonly name: string;
  readonly sink: TrajectorySink;
  readonly router: Router;
  readonly faults: FaultCounter;
  /**
   * How long a run whose function has returned waits for further calls, milliseconds: streams are read, and tool loops
   * go on, after `streamText` has returned. Default: 1000.
   */
  readonly graceMs?: number;
  /** After this long without any end, a run is closed and its open calls become partial records. Default: 15 minutes. */
  readonly abandonAfterMs?: number;
  readonly now?: () => number;
  /** Default: UUID version 7 (RFC 9562): ids in the order of time are appended to an index instead of spread over it. */
  readonly newId?: () => string;
}

export class Recorder {
  readonly faults: FaultCounter;
  readonly #options: RecorderOptions;
  readonly #open = new Set<ActiveRun>();

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.faults = options.faults;
  }

  /** The run of the code that calls this. */
  current(): ActiveRun | undefined {
    const run = currentRun();
    return run === undefined || run.isFinished ? undefined : run;
  }

  /** Who answers, or would answer, a call that is made here and now. */
  get route(): Route {
    return this.current()?.route ?? this.#options.router.choose();
  }

  /** Opens a run; its owner calls `finish`. A run that is opened inside another is its child. */
  startRun(options: RunOptions = {}): ActiveRun {
    return this.#start(options);
  }

  /** A run that closes itself once none of its calls is in flight: for a call outside any run. */
  startLoneRun(): ActiveRun {
    const run: ActiveRun = this.#start({}, () => {
      // Building the record is left until the caller has its answer.
      setImmediate(() => {
        if (run.openCalls === 0) run.finish();
      });
    });
    return run;
  }

  /**
   * Runs an agent as one trajectory. The trajectory closes when `agent` has settled and no call has been in flight for
   * the grace period; the result is given back at once.
   */
  run<T>(options: RunOptions, agent: () => T): T {
    let settled = false;
    let timer: NodeJS.Timeout | undefined;
    let failure: unknown;
    let failed = false;
    const run = this.#start(
      options,
      () => {
        closeLater();
      },
      () => {
        // A timer that is left behind would hold the whole run in memory for as long.
        clearTimeout(timer);
        clearTimeout(abandon);
      },
    );
    const close = (): void => {
      if (run.openCalls > 0) return;
      run.finish(failed ? { status: 'failed', error: describe(failure) } : { status: 'finished' });
    };
    const closeLater = (): void => {
      clearTimeout(timer);
      if (!settled || run.openCalls > 0) return;
      timer = setTimeout(close, this.#options.graceMs ?? 1000);
      timer.unref();
    };
    const onSettled = (): void => {
      settled = true;
      closeLater();
    };
    const onFailed = (error: unknown): void => {
      failed = true;
      failure = error;
      onSettled();
    };
    const abandon = setTimeout(
      () => run.finish({ status: 'abandoned' }),
      this.#options.abandonAfterMs ?? 900_000,
    );
    abandon.unref();
    let result: T;
    try {
      result = run.scope(agent);
    } catch (error) {
      onFailed(error);
      throw error;
    }
    if (isPromise(result)) result.then(onSettled, onFailed);
    else onSettled();
    return result;
  }

  /** Closes all runs that are open, so that shutting down loses nothing: what is in flight becomes a partial record. */
  finishAll(): void {
    for (const run of [...this.#open])
      run.finish(run.openCalls > 0 ? { status: 'abandoned' } : { status: 'finished' });
  }

  #start(options: RunOptions, onIdle?: () => void, onEnded?: () => void): ActiveRun {
    const { project, name, router, sink, faults } = this.#options;
    const parent = this.current();
    const run: ActiveRun = new ActiveRun({
      project,
      name,
      // A child finishes on the policy of its parent: one task, one policy.
      route: parent?.route ?? router.choose(),
      options,
      parent,
      faults,
      now: this.#options.now ?? Date.now,
      newId: this.#options.newId ?? timeOrderedId,
      onFinished: (trajectory) => {
        this.#open.delete(run);
        onEnded?.();
        sink.accept(trajectory);
      },
      ...(onIdle === undefined ? {} : { onIdle }),
    });
    this.#open.add(run);
    return run;
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}

function describe(error: unknown): { name: string; message: string } {
  return error instanceof Error
    ? { name: error.name, message: error.message }
    : { name: 'Error', message: String(error) };
}
