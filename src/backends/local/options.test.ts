import { expect, test } from 'vitest';
import { InvalidOptionError } from '../../errors.ts';
import { localBackend } from './index.ts';

test.each<[object, RegExp]>([
  [{ serving: 'tgi' }, /localBackend\.serving/],
  [{ servingEnvironment: '/vllm' }, /localBackend\.servingEnvironment.*serving is 'vllm'/],
  [{ serving: 'vllm', mode: { kind: 'split' } }, /localBackend\.mode\.kind/],
  [
    { serving: 'vllm', remote: { url: 'https://gpu.example', token: 't'.repeat(32) } },
    /localBackend\.serving.*beside `remote`/,
  ],
])('%o is refused by field', (options, message) => {
  const make = (): unknown => localBackend(options);
  expect(make).toThrow(InvalidOptionError);
  expect(make).toThrow(message);
});
