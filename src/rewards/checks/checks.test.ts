import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { aRewardInput, anAnswer } from '../../testing/reward-input.ts';
import type { RewardFunction, RewardInput, Scenario } from '../reward.ts';
import { commandReward } from './command.ts';
import { validJson } from './json.ts';
import { exactMatch, fuzzyMatch, patternMatch } from './match.ts';
import { costPenalty, lengthPenalty } from './penalties.ts';
import { forbiddenTools, requiredTools, toolSuccess } from './tools.ts';

const value = async <R>(reward: RewardFunction<Scenario, R>, input: RewardInput<Scenario, R>) =>
  (await reward.score(input))?.value;
const saying = (text: string) => aRewardInput(undefined, anAnswer({ role: 'assistant', content: text }));
const called = (names: readonly string[], results: readonly { toolName: string; error?: string }[] = []) =>
  aRewardInput(
    undefined,
    anAnswer(
      {
        role: 'assistant',
        content: '',
        tool_calls: names.map((name) => ({
          id: name,
          type: 'function',
          function: { name, arguments: '{}' },
        })),
      },
      results,
    ),
  );

describe('exactMatch and fuzzyMatch', () => {
  it('look at what the rollout returned, or else at the last answer', async () => {
    const reward = exactMatch({ expected: () => 'refund' });
    expect(await value(reward, aRewardInput('Refund '))).toBe(1);
    expect(await value(reward, saying('refund'))).toBe(1);
    expect(await value(reward, saying('replace'))).toBe(0);
  });

  it('take one of several answers, strictly where that is asked for, and say nothing without one', async () => {
    expect(await value(exactMatch({ expected: () => ['a', 'b'] }), aRewardInput('B'))).toBe(1);
    expect(await value(exactMatch({ expected: () => 'b', comparison: 'strict' }), aRewardInput('B'))).toBe(0);
    expect(await value(exactMatch({ expected: () => undefined }), aRewardInput('B'))).toBeUndefined();
  });

  it('measure nearness by edits', async () => {
    const near = fuzzyMatch({ expected: () => 'kitten' });
    expect(await value(near, aRewardInput('sitting'))).toBeCloseTo(1 - 3 / 7);
    expect(await value(near, aRewardInput('kitten'))).toBe(1);
    expect(await value(fuzzyMatch({ expected: () => 'kitten', atLeast: 0.9 }), aRewardInput('sitting'))).toBe(
      0,
    );
    expect(await value(fuzzyMatch({ expected: () => '' }), aRewardInput(''))).toBe(1);
  });
});

describe('patternMatch', () => {
  it('gives the same each time, also with a global pattern', async () => {
    const reward = patternMatch(/order \d+/g);
    expect(await value(reward, saying('order 12'))).toBe(1);
    expect(await value(reward, saying('order 12'))).toBe(1);
    expect(await value(reward, saying('none'))).toBe(0);
  });
});

describe('validJson', () => {
  it('checks the form, and the schema where there is one', async () => {
    const reward = validJson({ schema: z.object({ n: z.number() }) });
    expect(await value(reward, saying('{"n": 1}'))).toBe(1);
    expect(await reward.score(saying('{"n": "1"}'))).toMatchObject({ value: 0, explanation: /number/ });
    expect(await value(reward, saying('{"n": 1'))).toBe(0);
    expect(await value(validJson(), saying('[1]'))).toBe(1);
  });
});

describe('rewards of tools', () => {
  it('count results without an error, and say nothing without results', async () => {
    const results = [{ toolName: 'look' }, { toolName: 'act', error: 'refused' }];
    expect(await value(toolSuccess(), called([], results))).toBe(0.5);
    expect(await value(toolSuccess({ tools: ['look'] }), called([], results))).toBe(1);
    expect(await value(toolSuccess(), called(['look']))).toBeUndefined();
  });

  it('see forbidden and required ones', async () => {
    expect(await value(forbiddenTools(['delete']), called(['look', 'delete']))).toBe(0);
    expect(await value(forbiddenTools(['delete']), called(['look']))).toBe(1);
    expect(await value(requiredTools(['look', 'act']), called(['look', 'look']))).toBe(0.5);
  });
});

describe('penalties', () => {
  const using = (outputTokens: number, usd?: number) => {
    const input = saying('x');
    const call = input.trajectory.events[0];
    if (call?.kind !== 'model-call') throw new Error('There is no call.');
    call.response.usage = { inputTokens: 1, outputTokens };
    call.served.policy = null;
    if (usd !== undefined) call.cost = { usd, source: 'user' };
    return input;
  };

  it('grow in a straight line between what is free and the limit', async () => {
    const reward = lengthPenalty({ free: 100, limit: 300 });
    expect(await Promise.all([50, 200, 300, 999].map((tokens) => value(reward, using(tokens))))).toEqual([
      0, -0.5, -1, -1,
    ]);
  });

  it('go by the cost, and say nothing where a price is not known', async () => {
    const reward = costPenalty({ free: 0, limit: 0.02 });
    expect(await value(reward, using(1, 0.01))).toBe(-0.5);
    expect(await value(reward, using(1))).toBeUndefined();
    expect(() => costPenalty({ free: 2, limit: 1 })).toThrow(/"limit"/);
  });
});

describe('commandReward', () => {
  const node = process.execPath;
  const run = (script: string, more: Partial<Parameters<typeof commandReward>[0]> = {}) =>
    commandReward<Scenario, unknown>({ command: [node, '-e', script], ...more }).score(aRewardInput('in'));

  it('makes the exit code of tests a reward', async () => {
    expect(await run('process.exit(0)')).toEqual({ value: 1 });
    expect(await run('console.error("2 failed"); process.exit(3)')).toMatchObject({
      value: 0,
      explanation: 'exit code 3: 2 failed',
    });
  });

  it('gives files and input, reads the output, and keeps its own environment to itself', async () => {
    process.env['SECRET_OF_THE_HOST'] = 'x';
    const script = `const fs = require('fs');
      const seen = [fs.readFileSync('src/answer.txt', 'utf8'), fs.readFileSync(0, 'utf8'), process.env.SECRET_OF_THE_HOST];
      console.log(JSON.stringify(seen.map(String)));`;
    const outputs: string[] = [];
    await run(script, {
      files: ({ result }) => ({ 'src/answer.txt': `answer ${String(result)}` }),
      input: () => 'question',
      score: ({ stdout }) => outputs.push(stdout),
    });
    expect(outputs).toEqual(['["answer in","question","undefined"]']);
  });

  it('ends what takes too long, with all that it started', async () => {
    const script = `const { spawn } = require('child_process');
      const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
      console.log(child.pid); setInterval(() => {}, 1000);`;
    let pid = 0;
    const score = ({ stdout, timedOut }: { stdout: string; timedOut: boolean }) => {
      pid = Number(stdout);
      return timedOut ? 0 : 1;
    };
    expect(await run(script, { timeoutMs: 1500, score })).toEqual({ value: 0 });
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  it('scores nothing where the program is not there, or a path leads outside', async () => {
    const missing = commandReward({ command: ['no-such-program-at-all'] });
    await expect(missing.score(aRewardInput(''))).rejects.toThrow(/"command"/);
    await expect(run('', { files: () => ({ '../outside': '' }) })).rejects.toThrow(/"files"/);
  });
});

/** Zombies are dead: nobody may be there to collect what lost its parent. */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    return !stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    return false;
  }
}
