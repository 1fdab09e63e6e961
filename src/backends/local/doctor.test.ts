import { expect, test } from 'vitest';
import { doctor } from './doctor.ts';

test('the report of this machine is whole, and installs nothing', async () => {
  const report = await doctor({ baseModel: 'Qwen/Qwen3-0.6B', device: 'cpu' });
  expect(report.machine.cores).toBeGreaterThan(0);
  expect(report.model.family).toBe('Qwen3');
  expect(report.plan).toMatchObject({ training: 'transformers', device: 'cpu' });
  expect(report.training.torchtune.possible).toBe(true);
  expect(report.training.unsloth).toMatchObject({ possible: false });
  expect(report.training.unsloth.because).toContain('device is cpu');
  expect(report.environments.map((one) => one.set)).toEqual([
    'cpu',
    'torchtune',
    'cuda-train',
    'vllm-cpu',
    'cuda-serve',
  ]);
  expect(report.serving.transformers.possible).toBe(true);
  expect(report.problems).toEqual([]);
});

test('what stands in the way is a problem with its fix, not an exception', async () => {
  const report = await doctor({ python: 'no-such-python', device: 'cpu' });
  expect(report.environments).toEqual([]);
  expect(report.problems.join(' ')).toContain('No Python 3.10 or newer was found: no-such-python');
});
