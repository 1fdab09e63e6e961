import { it } from 'vitest';
import { faultTable, surviveKills } from './fault-table.ts';

it.each(faultTable)('killed at %s, %s and %s', async (...marks) => {
  await surviveKills(marks, 'transformers');
});
