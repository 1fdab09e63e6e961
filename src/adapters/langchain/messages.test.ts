import { AIMessage, HumanMessage, SystemMessage, ToolMessage } from '@langchain/core/messages';
import { ChatPromptTemplate } from '@langchain/core/prompts';
import { describe, expect, it } from 'vitest';
import { toMessages } from './messages.ts';

const none = new Map<string, string>();

describe('toMessages', () => {
  it('reads every form that a chat model takes', async () => {
    const expected = [{ role: 'user', content: 'hello' }];
    const prompt = await ChatPromptTemplate.fromMessages([['user', 'hello']]).invoke({});
    const inputs = [
      'hello',
      [['user', 'hello']],
      [['human', 'hello']],
      [{ role: 'user', content: 'hello' }],
      [new HumanMessage('hello')],
      prompt,
    ];
    for (const input of inputs) expect(toMessages(input, none)).toEqual(expected);
  });

  it('puts arguments back as they were sampled, and joins blocks of text', () => {
    const history = [
      new SystemMessage({
        content: [
          { type: 'text', text: 'Be ' },
          { type: 'text', text: 'brief.' },
        ],
      }),
      new AIMessage({ content: '', tool_calls: [{ id: 'c1', name: 'weather', args: { city: 'Paris' } }] }),
      new ToolMessage({ content: 'rain', tool_call_id: 'c1', name: 'weather' }),
    ];
    const raw = '{"city":  "Paris"}';
    expect(toMessages(history, new Map([['c1', raw]]))).toEqual([
      { role: 'system', content: 'Be brief.' },
      {
        role: 'assistant',
        content: '',
        tool_calls: [{ id: 'c1', type: 'function', function: { name: 'weather', arguments: raw } }],
      },
      { role: 'tool', content: 'rain', tool_call_id: 'c1' },
    ]);
  });

  it('keeps pictures and files by their kind only', () => {
    const url = `data:image/png;base64,${'A'.repeat(10_000)}`;
    const content = [
      { type: 'text', text: 'What is this?' },
      { type: 'image_url', image_url: { url } },
    ];
    expect(toMessages([new HumanMessage({ content })], none)).toEqual([
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this?' },
          { type: 'image_url', omitted: true },
        ],
      },
    ]);
  });

  it('does not repeat tool calls that a provider also has as blocks', () => {
    const message = new AIMessage({
      content: [
        { type: 'text', text: 'Let me look.' },
        { type: 'tool_use', id: 'c1', name: 'weather', input: {} },
      ],
      tool_calls: [{ id: 'c1', name: 'weather', args: {} }],
    });
    expect(toMessages([message], none)).toMatchObject([
      { content: 'Let me look.', tool_calls: [{ id: 'c1' }] },
    ]);
  });
});
