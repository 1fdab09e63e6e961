import { describe, expect, it } from 'vitest';
import { aCall, aTrajectory, olderJson } from '../../testing/records.ts';
import { parseTrajectory } from '../../trajectory/parse.ts';
import type { Message, ModelCall, ToolResult, Trajectory } from '../../trajectory/records.ts';
import { fromStored } from './from-stored.ts';
import { storedTrajectory } from './stored.ts';
import { toStored } from './to-stored.ts';

interface Kept {
  readonly json: string;
  readonly numbers: Uint8Array;
  readonly texts: string;
}

/** What a store keeps. */
function kept(trajectory: Trajectory): Kept {
  const { record, numbers, texts } = toStored(trajectory);
  const bytes = new Uint8Array(numbers.byteLength);
  numbers.write(bytes.buffer, 0);
  const written = Buffer.alloc(texts.byteLength);
  texts.write(written, 0);
  return { json: JSON.stringify(record), numbers: bytes, texts: written.toString() };
}

function back({ json, ...apart }: Kept): Trajectory {
  return fromStored(storedTrajectory.parse(JSON.parse(json)), apart);
}

const lengthOf = ({ json, numbers, texts }: Kept): number => json.length + numbers.length + texts.length;

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

const long = 'long enough to lie apart: '.repeat(10);

describe('stored trajectories', () => {
  it.each([
    ['without calls', aTrajectory({ events: [] })],
    ['of one call', longRun(1)],
    ['of many calls', longRun(12)],
    ['whose history begins anew', longRun(12, 5)],
    ['whose tools change', withTools(longRun(4), [[], ['a'], ['a'], ['b']])],
    ['with a call without tokens in the middle', withoutTokens(longRun(4), 1)],
    ['with a call without answer in the middle', withoutAnswer(longRun(4), 1)],
    ['with long texts', withMessages(longRun(3), { role: 'user', content: long })],
    ['with a long answer', withAnswer(longRun(3), { role: 'assistant', content: long, name: 'a' })],
    ['with script', withMessages(longRun(2), { role: 'user', content: 'ä€ 漢字 😀\n"\0'.repeat(30) })],
    ['with half of a surrogate pair', withMessages(longRun(2), { role: 'user', content: `${long}\ud83d` })],
    ['with parts', withMessages(longRun(2), { role: 'user', content: [{ type: 'text', text: long }] })],
    ['with the result of a tool', withResult(longRun(2), long)],
    ['with the result of a tool that is no text', withResult(longRun(2), { found: long })],
    ['with a tool that failed', withResult(longRun(2), undefined)],
    ['with a message that has no content', withMessages(longRun(2), { role: 'assistant' })],
  ])('are the same %s after all', (_, trajectory) => {
    expect(back(kept(trajectory))).toStrictEqual(parseTrajectory(trajectory));
  });

  it.each([
    ['short', longRun(3)],
    ['long', withMessages(longRun(3), { role: 'user', content: long })],
  ])('are read where older versions have stored %s texts and numbers in one JSON', (_, trajectory) => {
    const older = { json: olderJson(trajectory), numbers: new Uint8Array(), texts: '' };
    expect(back(older)).toStrictEqual(parseTrajectory(trajectory));
  });

  it('grow with what is new and not with the history', () => {
    const [short, longer] = [longRun(20), longRun(40)];
    expect(lengthOf(kept(longer)) / lengthOf(kept(short))).toBeLessThan(2.1);
    expect(JSON.stringify(longer).length / JSON.stringify(short).length).toBeGreaterThan(3);
  });

  it('have long texts and all numbers outside of their JSON, each text once', () => {
    const { json, texts } = kept(withMessages(longRun(3), { role: 'user', content: long }));
    expect(json).not.toContain(long);
    expect(texts).toBe(long);
    expect(json).not.toContain('-0.5');
  });

  it('have what a tool has answered once, though the prompt that follows repeats it', () => {
    const [first, second] = longRun(2).events as [ModelCall, ModelCall];
    const told = { role: 'tool', tool_call_id: 't', content: long };
    const { request } = second;
    const next = { ...second, request: { ...request, messages: [...request.messages, told] } };
    const events = [first, ...withResult(longRun(0), long).events, next];
    const trajectory = aTrajectory({ events });
    expect(kept(trajectory).texts).toBe(long);
    expect(back(kept(trajectory))).toStrictEqual(parseTrajectory(trajectory));
  });

  it('leave the trajectory as it was', () => {
    const trajectory = withAnswer(withMessages(longRun(3), { role: 'user', content: long }), {
      role: 'assistant',
      content: long,
    });
    const before = structuredClone(trajectory);
    toStored(trajectory);
    expect(trajectory).toStrictEqual(before);
  });

  it('take no number for a list, and no length from the response', () => {
    const [call] = longRun(1).events as [ModelCall];
    const other = aTrajectory({
      events: [{ ...call, tokens: { ...call.tokens, completionIds: 2 } } as unknown as ModelCall],
    });
    expect(() => toStored(other)).toThrow(TypeError);
    const response = { ...call.response, text: 40 };
    const trajectory = aTrajectory({ events: [{ ...call, response }] });
    expect(back(kept(trajectory))).toStrictEqual(parseTrajectory(trajectory));
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

/** `added` stands in front of each prompt. */
function withMessages(trajectory: Trajectory, added: Message): Trajectory {
  return withCalls(trajectory, (call) => ({
    ...call,
    request: { ...call.request, messages: [added, ...call.request.messages] },
  }));
}

function withAnswer(trajectory: Trajectory, message: Message): Trajectory {
  return withCalls(trajectory, (call) => ({ ...call, response: { ...call.response, message } }));
}

function withResult(trajectory: Trajectory, output: ToolResult['output']): Trajectory {
  const result: ToolResult = {
    kind: 'tool-result',
    index: 0,
    toolCallId: 't',
    toolName: 'look',
    input: {},
    ...(output === undefined ? { error: 'not found' } : { output }),
    effect: 'read',
    at: 1,
  };
  return { ...trajectory, events: [...trajectory.events, result] };
}
