import { it } from 'vitest';
import { faultTable, surviveKills } from '../fault-table.ts';

it.each(faultTable)('vLLM serves again after the sidecar was killed at %s, %s and %s', async (...marks) => {
  await surviveKills(marks, 'vllm');
});
