/** A recorder whose trajectories stay in memory, for tests. */
import type { AdapterHost } from '../capture/adapter-host.ts';
import { FaultCounter } from '../capture/faults.ts';
import { Recorder } from '../capture/recorder.ts';
import { recordOnly, type Router } from '../capture/route.ts';
import type { ModelCall, Trajectory } from '../trajectory/records.ts';

export interface MemoryHost extends AdapterHost {
  /** Closes open runs and gives what was recorded. */
  finished(): readonly Trajectory[];
  /** The model calls of the only trajectory. */
  calls(): readonly ModelCall[];
  /** Faults of ours that were swallowed, by place: none, where all is well. */
  faults(): Readonly<Record<string, number>>;
}

/** `router`: who answers. Default: the incumbent. */
export function memoryHost(router: Router = recordOnly): MemoryHost {
  const finished: Trajectory[] = [];
  const faults = new FaultCounter();
  const recorder = new Recorder({
    project: 'test',
    name: 'agent',
    router,
    faults,
    graceMs: 5,
    sink: {
      accept: (trajectory) => finished.push(trajectory),
      reward: () => undefined,
      flush: () => Promise.resolve({ complete: true }),
      counters: () => ({ accepted: 0, stored: 0, dropped: {}, queued: 0, queuedBytes: 0, faults: {} }),
      close: () => Promise.resolve(),
    },
  });
  const all = () => {
    recorder.finishAll();
    return finished;
  };
  return {
    recorder,
    finished: all,
    faults: () => faults.counts(),
    calls: () => {
      const [trajectory, ...more] = all();
      if (trajectory === undefined || more.length > 0)
        throw new Error(`There are ${String(finished.length)} trajectories.`);
      return trajectory.events.filter((event) => event.kind === 'model-call');
    },
  };
}
