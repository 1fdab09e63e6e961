import { expect, it } from 'vitest';
import { Later } from './later.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));
const hold = (milliseconds: number) => {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
};
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

it('does nothing in the turn in which work comes, then a slice of time a turn, in order', async () => {
  const later = new Later({ lingerMs: 5, sliceMs: 1 });
  const done: number[] = [];
  const sizes: number[] = [];
  for (const number of [1, 2, 3, 4, 5])
    later.add(() => {
      done.push(number);
      // Every second piece takes what is left of a slice.
      if (number % 2 === 0) hold(1);
    });
  await turn();
  expect(done).toEqual([]);
  while (done.length < 5) {
    await turn();
    if (sizes.at(-1) !== done.length) sizes.push(done.length);
  }
  expect(done).toEqual([1, 2, 3, 4, 5]);
  expect(sizes.filter((size) => size > 0)).toEqual([2, 4, 5]);
});

it('waits for a host that is busy to have time, but not for ever', async () => {
  const later = new Later({ lingerMs: 5, busyMs: 60, sliceMs: 1 });
  const began = performance.now();
  let waited: number | undefined;
  later.add(() => (waited = performance.now() - began));
  while (waited === undefined) {
    hold(2);
    await turn();
  }
  expect(waited).toBeGreaterThan(50);
  waited = undefined;
  later.add(() => (waited = performance.now() - began));
  await pause(40);
  expect(waited).toBeDefined();
});

it('does all at once when it is told to, and each piece once', async () => {
  const later = new Later({ lingerMs: 5, sliceMs: 1 });
  const done: number[] = [];
  for (const number of [1, 2, 3]) later.add(() => done.push(number));
  later.flush();
  expect(done).toEqual([1, 2, 3]);
  later.add(() => done.push(4));
  await pause(20);
  expect(done).toEqual([1, 2, 3, 4]);
});

it('does not pile up where timers never come', () => {
  const later = new Later({ lingerMs: 5, sliceMs: 1 });
  let done = 0;
  for (let count = 0; count < 25_000; count += 1) later.add(() => (done += 1));
  expect(done).toBe(20_000);
  later.flush();
});

it('does what a piece adds, and each piece once where one of them flushes', async () => {
  const later = new Later({ lingerMs: 1, sliceMs: 1 });
  const done: number[] = [];
  later.add(() => {
    done.push(1);
    later.add(() => done.push(3));
    later.flush();
  });
  later.add(() => done.push(2));
  await pause(20);
  expect(done).toEqual([1, 2, 3]);
});
