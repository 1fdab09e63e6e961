import type {
  Message,
  ModelCall,
  Tokens,
  ToolResult,
  Trajectory,
  TrajectoryEvent,
} from '../../trajectory/records.ts';
import { NumberReader } from './numbers.ts';
import type { StoredCall, StoredResult, StoredTokens, StoredTrajectory } from './stored.ts';
import { TextReader } from './texts.ts';

/** What has been taken out of a record: its numbers as bytes, its texts joined. */
export interface Apart {
  readonly numbers: Uint8Array;
  readonly texts: string;
}

/** The inverse of `toStored`, of a valid record. Throws InvalidRecordError where what lies apart is too short for it. */
export function fromStored({ texts: lengths, ...record }: StoredTrajectory, apart: Apart): Trajectory {
  const numbers = new NumberReader(apart.numbers, countedLogprobs(record));
  const texts = new TextReader(apart.texts, lengths ?? []);
  let messages: Message[] = [];
  let tools: ModelCall['request']['tools'] = [];
  let ids: number[] = [];
  const events = record.events.map((event): TrajectoryEvent => {
    if (event.kind !== 'model-call') return resultOf(event, texts);
    const own = messagesOf(event.request.messages, messages, texts);
    const response = responseOf(event.response, texts);
    const tokens = event.tokens === null ? null : tokensOf(event.tokens, ids, numbers);
    tools = event.request.tools ?? tools;
    messages = response.message === null ? own : [...own, response.message];
    ids = tokens === null ? [] : [...tokens.promptIds, ...tokens.completionIds];
    return { ...event, request: { ...event.request, messages: own, tools }, response, tokens };
  });
  return { ...record, events };
}

function messagesOf(
  { kept, added, texts }: StoredCall['request']['messages'],
  before: readonly Message[],
  reader: TextReader,
): Message[] {
  return [...before.slice(0, kept), ...added.map((message, at) => withContent(message, texts?.[at], reader))];
}

function responseOf(
  { text, ...response }: StoredCall['response'],
  reader: TextReader,
): ModelCall['response'] {
  const { message } = response;
  return { ...response, message: message === null ? null : withContent(message, text, reader) };
}

function withContent(message: Message, text: number | undefined, reader: TextReader): Message {
  return text === undefined || text === 0 ? message : { ...message, content: reader.get(text) };
}

function resultOf({ text, ...result }: StoredResult, reader: TextReader): ToolResult {
  return text === undefined || text === 0 ? result : { ...result, output: reader.get(text) };
}

function tokensOf(stored: StoredTokens, before: readonly number[], reader: NumberReader): Tokens {
  const { kept, added } = stored.promptIds;
  return {
    ...stored,
    promptIds: [...before.slice(0, kept), ...reader.ids(added)],
    completionIds: reader.ids(stored.completionIds),
    logprobs: reader.logprobs(stored.logprobs),
  };
}

function countedLogprobs({ events }: Pick<StoredTrajectory, 'events'>): number {
  let total = 0;
  for (const event of events) {
    const logprobs = event.kind === 'model-call' ? event.tokens?.logprobs : undefined;
    if (typeof logprobs === 'number') total += logprobs;
  }
  return total;
}
