import { describe, expect, it } from 'vitest';
import { aCall, aTrajectory } from '../testing/records.ts';
import { parseTrajectory } from '../trajectory/parse.ts';
import type { ModelCall, Trajectory } from '../trajectory/records.ts';
import { fromCompact, toCompact } from './encoding.ts';

const lengthOf = (value: unknown): number => JSON.stringify(value).length;

/** A run of `calls` calls, each with the whole history; at `forget` the history begins anew. */
function longRun(calls: number, forget = -1): Trajectory {
  const events: ModelCall[] = [];
  let history: ModelCall | undefined;
  let ids = [1, 2, 3];
  for (let index = 0; index < calls; index += 1) {
    if (index === forget) [history, ids] = [undefined, [9, 2, 3]];
    const completionIds = [100 + index, 200 + index];
    history = aCall({
      promptIds: ids,
      completionIds,
      index,
      ...(history === undefined ? {} : { history }),
    });
    ids = [...ids, ...completionIds, 50];
    events.push(history);
  }
  return aTrajectory({ events });
}

describe('compact trajectories', () => {
  it.each([
    ['without calls', aTrajectory({ events: [] })],
    ['of one call', longRun(1)],
    ['of many calls', longRun(12)],
    ['whose history begins anew', longRun(12, 5)],
    ['whose tools change', withTools(longRun(4), [[], ['a'], ['a'], ['b']])],
    ['with a call without tokens in the middle', withoutTokens(longRun(4), 1)],
    ['with a call without answer in the middle', withoutAnswer(longRun(4), 1)],
  ])('are the same %s after all', (_, trajectory) => {
    const sent = JSON.parse(JSON.stringify(toCompact(trajectory))) as ReturnType<typeof toCompact>;
    expect(fromCompact(sent)).toStrictEqual(parseTrajectory(trajectory));
  });

  it('grow with what is new and not with the history', () => {
    const [short, long] = [longRun(20), longRun(40)];
    expect(lengthOf(toCompact(long)) / lengthOf(toCompact(short))).toBeLessThan(2.1);
    expect(lengthOf(long) / lengthOf(short)).toBeGreaterThan(3);
  });

  it('leave the trajectory as it was', () => {
    const trajectory = longRun(3);
    const before = structuredClone(trajectory);
    toCompact(trajectory);
    expect(trajectory).toStrictEqual(before);
  });
});

function withCalls(
  trajectory: Trajectory,
  change: (call: ModelCall, index: number) => ModelCall,
): Trajectory {
  const events = trajectory.events.map((event, index) =>
    event.kind === 'model-call' ? change(event, index) : event,
  );
  return { ...trajectory, events };
}

function withTools(trajectory: Trajectory, tools: string[][]): Trajectory {
  return withCalls(trajectory, (call, index) => ({
    ...call,
    request: { ...call.request, tools: tools[index] ?? [] },
  }));
}

function withoutTokens(trajectory: Trajectory, at: number): Trajectory {
  return withCalls(trajectory, (call, index) => (index === at ? { ...call, tokens: null } : call));
}

function withoutAnswer(trajectory: Trajectory, at: number): Trajectory {
  return withCalls(trajectory, (call, index) =>
    index === at ? { ...call, response: { ...call.response, message: null } } : call,
  );
}
