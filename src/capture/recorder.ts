/** Starts runs, closes them, and hands what they became to the sink. */
import type { PriceBook } from '../pricing/price-book.ts';
import { timeOrderedId } from '../trajectory/ids.ts';
import type { RunOptions, SideCallRule, TrajectorySink } from './capture.ts';
import { Closing, type ClosingOptions } from './closing.ts';
import type { FaultCounter } from './faults.ts';
import { Later } from './later.ts';
import type { Route, Router } from './route.ts';
import { ActiveRun, type RunSettings } from './run.ts';
import { currentRun } from './scope.ts';

export interface RecorderOptions {
  readonly project: string;
  readonly name: string;
  readonly sink: TrajectorySink;
  readonly router: Router;
  readonly faults: FaultCounter;
  /** What API models charge. Default: calls are recorded without their cost. */
  readonly prices?: PriceBook;
  /** Which calls are no part of the task. Default: those that `asSideCalls` started. */
  readonly sideCall?: SideCallRule;
  /**
   * How long a run whose function has returned waits for further calls, milliseconds: streams are read, and tool loops
   * go on, after `streamText` has returned. Default: 1000.
   */
  readonly graceMs?: number;
  /** After this long without any call, a run is closed and its open calls become partial records. Default: 15 minutes. */
  readonly abandonAfterMs?: number;
  /** Default: half a millisecond of work a turn, from 50 ms after the first piece on, or 250 ms in a host that is busy. */
  readonly later?: Later;
  readonly now?: () => number;
  /** Default: UUID version 7 (RFC 9562): ids in the order of time are appended to an index instead of spread over it. */
  readonly newId?: (startedAt: number) => string;
}

/** How long a run that nothing bounds stays open. */
export interface Lingering {
  /** Milliseconds after the last call. */
  readonly lingerMs: (run: ActiveRun) => number;
  readonly onFinished: (run: ActiveRun) => void;
}

export class Recorder {
  readonly faults: FaultCounter;
  readonly #options: RecorderOptions;
  /** Runs that are open, and whether the watchman closes them when they are abandoned: those of `run`. */
  readonly #open = new Map<ActiveRun, boolean>();
  readonly #runSettings: RunSettings;
  readonly #closing: ClosingOptions;
  #watchman: NodeJS.Timeout | undefined;
  /** Building records is left until the callers have their answers. */
  readonly #later: Later;

  constructor(options: RecorderOptions) {
    this.#options = options;
    this.faults = options.faults;
    this.#later = options.later ?? new Later({ lingerMs: 50, busyMs: 250, sliceMs: 0.5 });
    const { project, name, sink, faults } = options;
    this.#runSettings = {
      project,
      name,
      faults,
      prices: options.prices,
      sideCall: options.sideCall,
      now: options.now ?? Date.now,
      newId: options.newId ?? timeOrderedId,
      onFinished: (run, trajectory) => {
        this.#open.delete(run);
        sink.accept(trajectory);
      },
    };
    this.#closing = {
      graceMs: options.graceMs ?? 1000,
      soon: (close) => {
        this.#later.add(close);
      },
    };
  }

  /** The run of the code that calls this. */
  current(): ActiveRun | undefined {
    return openOf(currentRun());
  }

  /** Who answers, or would answer, a call that is made here and now. */
  get route(): Route {
    return this.#routeBelow(currentRun());
  }

  /** A run that begins inside another is on its policy: one task, one policy. */
  #routeBelow(parent: ActiveRun | undefined): Route {
    return openOf(parent)?.route ?? this.#options.router.choose();
  }

  /** Opens a run; its owner calls `finish`. A run that is opened inside another is its child. */
  startRun(options: RunOptions = {}): ActiveRun {
    return this.#start(options, false);
  }

  /** A run that closes itself once none of its calls is in flight: for a call outside any run. */
  startLoneRun(): ActiveRun {
    const run = this.#start({}, false);
    const close = (): void => {
      if (run.openCalls === 0) run.finish();
    };
    run.watchedBy({
      idle: () => {
        this.#later.add(close);
      },
      finished: () => undefined,
    });
    return run;
  }

  /**
   * A run that nothing bounds: an agent's calls, one after the other, without a function around them. It closes itself
   * when none of its calls has been in flight for `lingerMs`, asked each time that the last one has ended.
   */
  startLingeringRun(options: RunOptions, linger: Lingering): ActiveRun {
    let timer: NodeJS.Timeout | undefined;
    const wait = (): void => {
      clearTimeout(timer);
      timer = undefined;
      if (run.openCalls > 0) return;
      const mine = setTimeout(() => {
        this.#later.add(() => {
          if (timer === mine && run.openCalls === 0) run.finish();
        });
      }, linger.lingerMs(run));
      timer = mine.unref();
    };
    const run = this.#start(options, false);
    run.watchedBy({
      idle: wait,
      finished: () => {
        clearTimeout(timer);
        linger.onFinished(run);
      },
    });
    wait(); // should no call ever come
    return run;
  }

  /**
   * Runs an agent as one trajectory and gives back what it gives back, at once. The trajectory closes when the agent
   * has settled and looks complete; an agent whose calls may go on after that (streams that are read elsewhere, tool
   * loops that nobody waits for) is given the grace period after each call. A call that comes later still is recorded
   * as a trajectory of its own, with this one as its parent.
   */
  run<T>(options: RunOptions, agent: () => T): T {
    const run = this.#start(options, true);
    this.#watchman ??= this.#startWatchman();
    const failed = (error: unknown): void => {
      this.#later.add(() => {
        new Closing(run, this.#closing).failed(error);
      });
    };
    let result: T;
    try {
      result = run.scope(agent);
    } catch (error) {
      failed(error);
      throw error;
    }
    if (isPromise(result)) {
      result.then((value) => {
        const { lastCall } = run;
        this.#later.add(() => {
          new Closing(run, this.#closing).fulfilled(value, lastCall);
        });
      }, failed);
    } else new Closing(run, this.#closing).returned();
    return result;
  }

  /** Closes the runs that are over, of which some wait for others to be closed together. */
  settle(): void {
    this.#later.flush();
  }

  /** Closes the runs that were opened inside `run`, and those inside them: what is in flight becomes a partial record. */
  finishChildren(run: ActiveRun): void {
    // Those that are over already close as they ended.
    this.settle();
    for (const child of [...this.#open.keys()].filter((one) => one.parentId === run.id)) {
      this.finishChildren(child);
      child.finish(child.openCalls > 0 ? { status: 'abandoned' } : { status: 'finished' });
    }
  }

  /** Closes all runs that are open, so that shutting down loses nothing: what is in flight becomes a partial record. */
  finishAll(): void {
    this.settle();
    for (const run of [...this.#open.keys()])
      run.finish(run.openCalls > 0 ? { status: 'abandoned' } : { status: 'finished' });
    clearInterval(this.#watchman);
    this.#watchman = undefined;
  }

  #start(options: RunOptions, watched: boolean): ActiveRun {
    // One that is finished, too: what its agent left running shows as its child.
    const parent = currentRun();
    const run = new ActiveRun({
      settings: this.#runSettings,
      route: this.#routeBelow(parent),
      options,
      parent,
    });
    this.#open.set(run, watched);
    return run;
  }

  /** One timer for all runs: they are many, and hardly ever does one come to this. */
  #startWatchman(): NodeJS.Timeout {
    const abandonAfterMs = this.#options.abandonAfterMs ?? 900_000;
    const watch = (): void => {
      const now = this.#runSettings.now();
      let left = 0;
      for (const [run, watched] of this.#open) {
        if (!watched) continue;
        if (now - run.lastActiveAt >= abandonAfterMs) run.finish({ status: 'abandoned' });
        else left += 1;
      }
      if (left > 0) return;
      clearInterval(this.#watchman);
      this.#watchman = undefined;
    };
    return setInterval(watch, Math.min(abandonAfterMs, 60_000)).unref();
  }
}

function openOf(run: ActiveRun | undefined): ActiveRun | undefined {
  return run === undefined || run.isFinished ? undefined : run;
}

function isPromise(value: unknown): value is Promise<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function'
  );
}
