import { expect, test } from 'vitest';
import { InvalidOptionError } from '../../errors.ts';
import { localBackend, type LocalBackendOptions } from './index.ts';

test.each<[object, RegExp]>([
  [{ serving: 'tgi' }, /localBackend\.serving/],
  [{ maxLoraRank: 8 }, /localBackend\.maxLoraRank.*serving is 'vllm'/],
  [{ servingEnvironment: '/vllm' }, /localBackend\.servingEnvironment.*serving is 'vllm'/],
  [{ serving: 'vllm', maxLoraRank: 12 }, /localBackend\.maxLoraRank/],
  [{ serving: 'vllm', mode: { kind: 'split' } }, /localBackend\.mode\.kind/],
  [
    { serving: 'vllm', remote: { url: 'https://gpu.example', token: 't'.repeat(32) } },
    /localBackend\.serving.*beside `remote`/,
  ],
])('%o is refused by field', (options, message) => {
  const make = (): unknown => localBackend(options as LocalBackendOptions);
  expect(make).toThrow(InvalidOptionError);
  expect(make).toThrow(message);
});

test('a rank that vLLM keeps no room for is refused before anything is trained', () => {
  const backend = localBackend({ serving: 'vllm', maxLoraRank: 32 });
  expect(() => {
    backend.validate({ lora: { rank: 64 } });
  }).toThrow(/lora\.rank.*at most 32/);
  backend.validate({ lora: { rank: 32 } });
  localBackend().validate({ lora: { rank: 64 } });
});
