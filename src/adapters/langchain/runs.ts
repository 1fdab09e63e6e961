/**
 * The run that a call belongs to: the scope that the user has opened, else the run of the graph that makes the call,
 * else a run of its own.
 */
import type { Recorder } from '../../capture/recorder.ts';
import type { ActiveRun } from '../../capture/run.ts';
import { sharedStorage } from '../../capture/shared-storage.ts';
import { configOf, invocationOf, outerThreadOf, runIdOf, threadOf } from './config.ts';
import { newToolMessages } from './tool-results.ts';

/** After a run's last answer, when it asks for no tool: graphs take little time between their nodes. */
const lingerMs = 5_000;
/** While a tool works, or a person decides; a run that goes on later becomes a trajectory of its own. */
const lingerForToolsMs = 120_000;

/** What `instrument` knows of the invocation that it starts. */
export interface Invocation {
  readonly runId?: string;
}

export const invocations = sharedStorage<Invocation>('apprentice.langchain.invocation.1');

const known = new WeakMap<Recorder, GraphRuns>();

/** The runs of graphs of one recorder. */
export function graphRunsOf(recorder: Recorder): GraphRuns {
  let runs = known.get(recorder);
  if (runs === undefined) known.set(recorder, (runs = new GraphRuns(recorder)));
  return runs;
}

export class GraphRuns {
  readonly #recorder: Recorder;
  readonly #byInvocation = new WeakMap<object, ActiveRun>();
  /** Runs of threads that are open: a thread that was interrupted goes on in the run that it began. */
  readonly #byThread = new Map<string, ActiveRun>();

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** The run of a call; opens one where there is none. */
  of(options: unknown, input: unknown): ActiveRun {
    return this.#recorder.current() ?? this.#ofGraph(options, input) ?? this.#recorder.startLoneRun();
  }

  /** The run that the code calling this belongs to, if it has begun. */
  current(options: unknown): ActiveRun | undefined {
    const found = this.#recorder.current();
    if (found !== undefined) return found;
    const invocation = invocationOf(configOf(options));
    const run = invocation === undefined ? undefined : this.#byInvocation.get(invocation);
    return run?.isFinished === false ? run : undefined;
  }

  #ofGraph(options: unknown, input: unknown): ActiveRun | undefined {
    const config = configOf(options);
    const invocation = invocationOf(config);
    if (invocation === undefined) return undefined;
    const open = this.#byInvocation.get(invocation);
    if (open?.isFinished === false) return open;
    const threadId = threadOf(config);
    const run =
      this.#openOn(outerThreadOf(config)) ??
      this.#resumed(threadId, input) ??
      this.#open(threadId, runIdOf(config), open);
    this.#byInvocation.set(invocation, run);
    return run;
  }

  /** The open run of this thread, where the input answers a tool call that the run still waits for. */
  #resumed(threadId: string | undefined, input: unknown): ActiveRun | undefined {
    const run = this.#openOn(threadId);
    const answers = newToolMessages(input).some(
      ({ tool_call_id: id }) => id !== undefined && run?.awaitsTool(id) === true,
    );
    return answers ? run : undefined;
  }

  #openOn(threadId: string | undefined): ActiveRun | undefined {
    const run = threadId === undefined ? undefined : this.#byThread.get(threadId);
    return run?.isFinished === false ? run : undefined;
  }

  #open(threadId: string | undefined, runId: string | undefined, before: ActiveRun | undefined): ActiveRun {
    const { runId: given = runId } = invocations.getStore() ?? {};
    const run = this.#recorder.startLingeringRun(
      {
        ...(threadId === undefined ? {} : { threadId }),
        ...(given === undefined ? {} : { runId: given }),
        ...(before === undefined ? {} : { metadata: { continues: before.id } }),
      },
      {
        lingerMs: (one) => (one.awaitsTool() ? lingerForToolsMs : lingerMs),
        onFinished: (one) => {
          if (threadId !== undefined && this.#byThread.get(threadId) === one) this.#byThread.delete(threadId);
        },
      },
    );
    if (threadId !== undefined) this.#byThread.set(threadId, run);
    return run;
  }
}
