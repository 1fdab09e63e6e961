import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Rests } from './rests.ts';

const wait = vi.spyOn(Atomics, 'wait');

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  wait.mockClear();
});

afterEach(() => {
  vi.useRealTimers();
});

it.runIf(process.platform === 'linux')('rests after some work, and again only after as much', () => {
  const rests = new Rests();
  rests.begin();
  for (let tenth = 0; tenth < 20; tenth += 1) {
    rests.restIfDue();
    vi.advanceTimersByTime(0.1);
  }
  expect(wait.mock.calls.length).toBeGreaterThanOrEqual(4);
  expect(wait.mock.calls.length).toBeLessThanOrEqual(6);
});

it('does not count the time between two works', () => {
  const rests = new Rests();
  vi.advanceTimersByTime(1000);
  rests.begin();
  rests.restIfDue();
  expect(wait).not.toHaveBeenCalled();
});
