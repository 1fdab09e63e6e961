import { describe, expect, it } from 'vitest';
import { memoryHost } from '../../testing/memory-host.ts';
import { chunkedAnswer, eventAnswer, joinChunks, wholeAnswer } from './answers.ts';

const run = () => memoryHost().recorder.startRun();

describe('joinChunks', () => {
  it('joins text, pieces of tool calls by their index, counts and what is said of the answer', () => {
    const joined = joinChunks([
      { id: 'a', content: 'Let me ', tool_call_chunks: [] },
      { content: 'look.', tool_call_chunks: [{ index: 0, id: 'c1', name: 'look_up', args: '{"order"' }] },
      { content: '', tool_call_chunks: [{ index: 1, id: 'c2', name: 'resolve', args: '{}' }] },
      { content: '', tool_call_chunks: [{ index: 0, args: ':  "K1"}' }] },
      { content: '', response_metadata: { finish_reason: 'tool_calls', model_name: 'm' } },
      { content: '', usage_metadata: { input_tokens: 3, output_tokens: 2 } },
    ]);
    expect(joined).toMatchObject({
      id: 'a',
      tool_calls: [
        { id: 'c1', name: 'look_up', args: '{"order":  "K1"}' },
        { id: 'c2', name: 'resolve', args: '{}' },
      ],
      response_metadata: { finish_reason: 'tool_calls', model_name: 'm' },
      usage_metadata: { input_tokens: 3, output_tokens: 2 },
    });
    expect(chunkedAnswer(run(), [joined]).message?.()?.content).toBe('Let me look.');
  });

  it('takes tool calls that come whole in a chunk', () => {
    const call = { id: 'c1', name: 'weather', args: { city: 'Paris' } };
    expect(joinChunks([{ content: '', tool_calls: [call] }]).tool_calls).toEqual([call]);
  });
});

describe('wholeAnswer', () => {
  it('keeps arguments as the model wrote them where the provider’s class has them', () => {
    const active = run();
    const raw = '{ "city":  "Paris" }';
    wholeAnswer(active, {
      content: '',
      tool_calls: [{ id: 'c1', name: 'weather', args: { city: 'Paris' } }],
      additional_kwargs: { tool_calls: [{ id: 'c1', function: { name: 'weather', arguments: raw } }] },
    });
    expect(active.rawArguments.get('c1')).toBe(raw);
    expect(active.awaitsTool('c1')).toBe(true);
  });

  it('keeps a tool call that could not be parsed', () => {
    const answer = wholeAnswer(run(), {
      content: '',
      invalid_tool_calls: [{ id: 'c1', name: 'weather', args: '{"city": "Par' }],
    });
    expect(answer.message?.()).toMatchObject({ tool_calls: [{ function: { arguments: '{"city": "Par' } }] });
  });

  it('leaves counts out that are no counts', () => {
    const usage = { input_tokens: Number.NaN, output_tokens: 2 };
    expect(wholeAnswer(run(), { content: 'yes', usage_metadata: usage }).usage).toEqual({ outputTokens: 2 });
  });
});

describe('eventAnswer', () => {
  it('puts content blocks, tool calls and counts together', () => {
    const answer = eventAnswer(run(), [
      { event: 'message-start', id: 'a' },
      { event: 'content-block-finish', index: 0, content: { type: 'reasoning', reasoning: 'Hm.' } },
      { event: 'content-block-finish', index: 1, content: { type: 'text', text: 'Let me look.' } },
      {
        event: 'content-block-finish',
        index: 2,
        content: { type: 'tool_call', id: 'c1', name: 'look_up', args: { order: 'K1' } },
      },
      { event: 'message-finish', reason: 'tool_use', usage: { input_tokens: 3, output_tokens: 2 } },
    ]);
    expect(answer).toMatchObject({
      responseId: 'a',
      finishReason: 'tool_use',
      usage: { inputTokens: 3, outputTokens: 2 },
    });
    expect(answer.message?.()).toEqual({
      role: 'assistant',
      content: 'Let me look.',
      reasoning: 'Hm.',
      tool_calls: [
        { id: 'c1', type: 'function', function: { name: 'look_up', arguments: '{"order":"K1"}' } },
      ],
    });
  });
});
