/** What the scripted server says in the cases of the contract. */
import type { DialectAnswer, DialectRequest } from '../openai-dialect-server.ts';

export const text = { kind: 'text', text: 'It is raining in Paris.' } as const satisfies DialectAnswer;
/** Spaces and an order that no serialiser would give. */
export const rawArguments = '{ "city":  "Paris" }';
export const tools: DialectAnswer = {
  kind: 'tools',
  calls: [{ id: 'call-a', name: 'weather', arguments: rawArguments }],
};

/** Structured output comes by a response format or by a tool that must be called. */
export function structured({ body }: DialectRequest): DialectAnswer {
  const json = '{"city":"Paris"}';
  const wanted = body['response_format'] as { type?: string } | undefined;
  if (wanted !== undefined && wanted.type !== 'text') return { kind: 'text', text: json };
  const [tool] = (body['tools'] ?? []) as { function: { name: string } }[];
  if (tool === undefined) return { kind: 'text', text: json };
  return { kind: 'tools', calls: [{ id: 'call-s', name: tool.function.name, arguments: json }] };
}

/** Asks for the weather in what the question says, then repeats the tool's result. */
export function echo({ body }: DialectRequest): DialectAnswer {
  const last = body.messages.at(-1);
  const said = textOf(last?.['content']);
  if (last?.['role'] === 'tool') return { kind: 'text', text: `seen: ${said}` };
  const calls = [{ id: `call-of-${said}`, name: 'weather', arguments: JSON.stringify({ city: said }) }];
  return { kind: 'tools', calls };
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  const parts = Array.isArray(content) ? (content as { text?: string }[]) : [];
  return parts.map((part) => part.text ?? '').join('');
}

/** The arguments of the first tool call in a request. */
export function sentArguments(request: DialectRequest | undefined): unknown {
  const message = request?.body.messages.find((one) => one['role'] === 'assistant');
  const [call] = (message?.['tool_calls'] ?? []) as { function: { arguments: string } }[];
  return call?.function.arguments;
}
