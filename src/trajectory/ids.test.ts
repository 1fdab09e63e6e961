import { describe, expect, it } from 'vitest';
import { parsePolicyId, policyId, timeOrderedId } from './ids.ts';

describe('timeOrderedId', () => {
  it('is a UUID of version 7 that tells when it was made', () => {
    const before = Date.now();
    const id = timeOrderedId();
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const time = parseInt(id.replaceAll('-', '').slice(0, 12), 16);
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(Date.now());
  });

  it('is different each time', () => {
    expect(new Set(Array.from({ length: 1000 }, timeOrderedId)).size).toBe(1000);
  });
});

describe('policy ids', () => {
  it('are read as they are written, and nothing else is', () => {
    expect(parsePolicyId(policyId({ name: 'triage', step: 3 }))).toEqual({ name: 'triage', step: 3 });
    for (const text of ['triage', 'triage@', 'Triage@3', 'triage@-1', 'triage@1.5'])
      expect(parsePolicyId(text), text).toBeUndefined();
  });
});
