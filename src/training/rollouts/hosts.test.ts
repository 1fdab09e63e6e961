import { expect, it } from 'vitest';
import { HostGates } from './hosts.ts';

const { signal } = new AbortController();

/** Starts `count` works on each host; gives how many ran at a time, in all and by host. */
async function peaks(gates: HostGates, hosts: readonly string[]) {
  const running = new Map<string, number>();
  const peak = new Map<string, number>();
  const count = (name: string, by: number) => {
    const now = (running.get(name) ?? 0) + by;
    running.set(name, now);
    peak.set(name, Math.max(peak.get(name) ?? 0, now));
  };
  await Promise.all(
    hosts.map((host) =>
      gates.run(host, signal, async () => {
        for (const name of [host, 'all']) count(name, 1);
        await new Promise((resolve) => setTimeout(resolve, 5));
        for (const name of [host, 'all']) count(name, -1);
      }),
    ),
  );
  return Object.fromEntries(peak);
}

it('starts so many in all, and so many on one host', async () => {
  const hosts = [...new Array<string>(9).fill('a'), ...new Array<string>(9).fill('b')];
  expect(await peaks(new HostGates({ concurrency: 5, perHost: 3 }), hosts)).toEqual({ a: 3, b: 3, all: 5 });
});

it('lets others go on while a host pauses', async () => {
  const gates = new HostGates({ concurrency: 1, perHost: 1 });
  gates.pause('a', 60);
  const order: string[] = [];
  const startedAt = Date.now();
  await Promise.all(
    ['a', 'b'].map((host) =>
      gates.run(host, signal, () => {
        order.push(host);
        return Promise.resolve();
      }),
    ),
  );
  expect(order).toEqual(['b', 'a']);
  expect(Date.now() - startedAt).toBeGreaterThanOrEqual(50);
});
