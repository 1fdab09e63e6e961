/** A recorder whose trajectories stay in memory, for tests. */
import type { AdapterHost } from '../src/adapters/ai-sdk/index.ts';
import { FaultCounter } from '../src/capture/faults.ts';
import { Recorder } from '../src/capture/recorder.ts';
import { recordOnly, type Router } from '../src/capture/route.ts';
import type { ModelCall, Trajectory } from '../src/index.ts';

export interface MemoryHost extends AdapterHost {
  /** Closes open runs and gives what was recorded. */
  finished(): readonly Trajectory[];
  /** The model calls of the only trajectory. */
  calls(): readonly ModelCall[];
}

export function memoryHost(router: Router = recordOnly): MemoryHost {
  const finished: Trajectory[] = [];
  const recorder = new Recorder({
    project: 'test',
    name: 'agent',
    router,
    faults: new FaultCounter(),
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
    calls: () => {
      const [trajectory, ...more] = all();
      if (trajectory === undefined || more.length > 0)
        throw new Error(`There are ${String(finished.length)} trajectories.`);
      return trajectory.events.filter((event) => event.kind === 'model-call');
    },
  };
}
