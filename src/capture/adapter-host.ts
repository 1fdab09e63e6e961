import type { Recorder } from './recorder.ts';

/** What adapters need of an apprentice. */
export interface AdapterHost {
  readonly recorder: Recorder;
}
