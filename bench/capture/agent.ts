/**
 * The agent that is measured: three model calls and two tool calls on a model inside the process that takes no time;
 * a system prompt of 3 KB and tool results of 1 KB.
 */
import { generateText, isStepCount, streamText, tool, type LanguageModel } from 'ai';
import type { LanguageModelV4, LanguageModelV4StreamPart, LanguageModelV4Usage } from 'ai-sdk-provider-v4';
import { z } from 'zod';
import { prose } from '../words.ts';

export const callsPerRun = 3;

const systemLength = 3000;
const resultLength = 1000;
const system = prose(systemLength);
const question = 'Where is my order K482?';
const answer = prose(200);
const deltas = answer.match(/.{1,8}/gsu) ?? [];

const usage: LanguageModelV4Usage = {
  inputTokens: { total: 900, noCache: 900, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 50, text: 50, reasoning: undefined },
};
const stop = { unified: 'stop', raw: 'stop' } as const;
const toolCalls = { unified: 'tool-calls', raw: 'tool_calls' } as const;

/** Calls its tool in all turns but the last; the count of tool results in the prompt tells which turn it is. */
export function makeModel(calls: number = callsPerRun): LanguageModelV4 {
  const turnOf = (prompt: readonly { role: string }[]) =>
    prompt.filter((message) => message.role === 'tool').length;
  const toolCall = (turn: number) =>
    ({
      type: 'tool-call',
      toolCallId: `call-${String(turn)}`,
      toolName: 'look_up',
      input: `{"order":"K${String(turn)}"}`,
    }) as const;
  return {
    specificationVersion: 'v4',
    provider: 'bench',
    modelId: 'bench-1',
    supportedUrls: {},
    doGenerate: ({ prompt }) => {
      const turn = turnOf(prompt);
      const last = turn === calls - 1;
      return Promise.resolve({
        content: last ? [{ type: 'text', text: answer }] : [toolCall(turn)],
        finishReason: last ? stop : toolCalls,
        usage,
        warnings: [],
      });
    },
    doStream: ({ prompt }) => {
      const turn = turnOf(prompt);
      const last = turn === calls - 1;
      const parts: LanguageModelV4StreamPart[] = [{ type: 'stream-start', warnings: [] }];
      if (last) {
        parts.push({ type: 'text-start', id: 't' });
        for (const delta of deltas) parts.push({ type: 'text-delta', id: 't', delta });
        parts.push({ type: 'text-end', id: 't' });
      } else parts.push(toolCall(turn));
      parts.push({ type: 'finish', usage, finishReason: last ? stop : toolCalls });
      return Promise.resolve({ stream: streamOf(parts) });
    },
  };
}

function streamOf<T>(parts: readonly T[]): ReadableStream<T> {
  let next = 0;
  return new ReadableStream<T>({
    pull(controller) {
      const part = parts[next];
      next += 1;
      if (part === undefined) controller.close();
      else controller.enqueue(part);
    },
  });
}

/** What is called for each of the agent's events. */
export type Telemetry = NonNullable<Parameters<typeof generateText>[0]['telemetry']>;

function settings({ model, telemetry, calls = callsPerRun }: Agent) {
  return {
    model,
    ...(telemetry === undefined ? {} : { telemetry }),
    instructions: system,
    prompt: question,
    stopWhen: isStepCount(calls),
    maxRetries: 0,
    tools: {
      look_up: tool({
        description: 'Finds an order.',
        inputSchema: z.object({ order: z.string() }),
        execute: () => Promise.resolve(prose(resultLength)),
      }),
    },
  };
}

export type Mode = 'generate' | 'stream';

export interface Agent {
  readonly model: LanguageModel;
  /** Default: none. */
  readonly telemetry?: Telemetry;
  /** Model calls of a run. Default: 3. */
  readonly calls?: number;
}

/** One run of the agent, to its end. */
export async function runAgent(agent: Agent, mode: Mode): Promise<void> {
  if (mode === 'generate') await generateText(settings(agent));
  else await streamText(settings(agent)).consumeStream();
}

/** Bytes of what one run says: each message, tool result and answer once. */
export function uniqueBytes(calls: number): number {
  const rounds = calls - 1;
  return systemLength + question.length + rounds * resultLength + answer.length;
}
