/** Traffic that was recorded on a policy, judged by feedback, trained on by the real sidecar. */
import { generateText } from 'ai7';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { wrapModel } from '../src/adapters/ai-sdk/index.ts';
import { FaultCounter } from '../src/capture/faults.ts';
import { Recorder } from '../src/capture/recorder.ts';
import { StoreSink } from '../src/capture/sink.ts';
import type { Apprentice } from '../src/index.ts';
import { PolicyRouter } from '../src/policy/router.ts';
import { trainOnRecorded } from '../src/training/recorded/train-on-recorded.ts';
import type { TrainerParts } from '../src/training/step-trainer.ts';
import { neverAsked, trainingApprentice } from './sidecar.ts';

let apprentice: Apprentice;
let parts: TrainerParts;

beforeAll(async () => {
  ({ apprentice } = await trainingApprentice());
  const store = await apprentice.store();
  const backend = await apprentice.backend();
  const router = new PolicyRouter();
  const faults = new FaultCounter();
  const sink = new StoreSink({ store: Promise.resolve(store), faults });
  const recorder = new Recorder({ project: 'test', name: 'tiny', sink, router, faults, graceMs: 5 });
  // A policy that is live: here the bare base model.
  router.serve({
    kind: 'policy',
    policy: 'base',
    step: 0,
    propensity: 1,
    endpoint: (signal) => backend.endpoint('base', signal),
    onFailure: 'throw',
  });
  parts = { project: 'test', name: 'tiny', store, sink, recorder, router, backend, now: Date.now };
});
afterAll(() => apprentice.close());

it('trains once on what people judged, and leaves out what nobody did', async () => {
  const { recorder, store } = parts;
  const model = wrapModel(neverAsked, { recorder }) as never;
  const prompt = 'respond with yes, no or maybe';
  for (let index = 0; index < 16; index += 1) {
    await recorder.run({ scenario: prompt, runId: `run-${String(index)}` }, () =>
      generateText({ model, prompt, maxOutputTokens: 5 }),
    );
  }
  recorder.finishAll();
  await parts.sink.flush();
  // Every other run is judged, by its place alone: what counts here is what becomes of the judgements.
  for (let index = 0; index < 16; index += 2) {
    const target = { runId: `run-${String(index)}` };
    await apprentice.feedback(target, { name: 'good', value: index % 4 === 0 });
  }
  const rules = { rewards: [{ name: 'good' }] };
  const dryRun = await apprentice.recordedGroups({}, rules);
  expect(dryRun).toMatchObject({ trajectories: 16, withSignal: 1, leftOut: { 'no-reward': 8 } });
  expect(await store.steps('test', 'tiny')).toEqual([]);

  const step = await trainOnRecorded(parts, rules);
  expect(step).toMatchObject({ type: 'step', step: 1, skipped: {} });
  const [record] = await store.steps('test', 'tiny');
  const judged = await Promise.all((record?.trajectoryIds ?? []).map((id) => store.get(id)));
  expect(judged).toHaveLength(8);
  for (const one of judged) {
    expect(one?.feedback).toHaveLength(1);
    expect(record?.judgements?.[one?.trajectory.id ?? '']?.total).toBe(one?.feedback[0]?.value);
  }

  // Trained, and of an older policy: nothing is left for a second step.
  expect(await trainOnRecorded(parts, { ...rules, maxStaleness: 1 })).toMatchObject({
    type: 'no-signal',
    step: 1,
    groups: { withSignal: 0, leftOut: { 'already-trained': 8, 'no-reward': 8 } },
  });
  expect(await trainOnRecorded(parts, rules)).toMatchObject({ groups: { leftOut: { 'other-policy': 8 } } });
});
