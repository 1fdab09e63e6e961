/** A dataset of chats → rows: the tokens of the assistant's turns, each with the same weight. */
import { z } from 'zod';
import type { TrainingRow } from '../../trajectory/rows.ts';
import type { WandbEngine } from './engine.ts';
import { UntrainableError } from './rl-rows.ts';

const example = z.looseObject({
  messages: z.array(z.looseObject({ role: z.string() })).min(1),
  tools: z.array(z.looseObject({})).nullish(),
});
type Example = z.infer<typeof example>;

/** The examples of a `train.jsonl`. Throws UntrainableError with the number of the line that does not fit. */
export function parseExamples(text: string): Example[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line, index) => {
      const parsed = example.safeParse(json(line));
      if (!parsed.success) throw new UntrainableError(`Line ${String(index + 1)} is no chat example.`);
      if (parsed.data.messages.at(-1)?.role !== 'assistant')
        throw new UntrainableError(`Line ${String(index + 1)} does not end with the assistant.`);
      return parsed.data;
    });
}

function json(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

/** One row for each trained turn; `groupId` is the number of its batch. */
export async function sftRows(
  examples: readonly Example[],
  options: { readonly engine: WandbEngine; readonly batchSize: number; readonly turns: 'all' | 'last' },
): Promise<TrainingRow[]> {
  const rows: TrainingRow[] = [];
  for (const [index, { messages, tools }] of examples.entries()) {
    const places = messages.flatMap((message, place) => (message.role === 'assistant' ? [place] : []));
    for (const place of options.turns === 'last' ? places.slice(-1) : places) {
      const tokenize = (count: number, addGenerationPrompt: boolean): Promise<number[]> =>
        options.engine.tokenize({
          messages: messages.slice(0, count),
          tools: tools ?? null,
          addGenerationPrompt,
        });
      const prompt = place === 0 ? [] : await tokenize(place, true);
      const whole = await tokenize(place + 1, false);
      if (!prompt.every((id, at) => whole[at] === id))
        throw new UntrainableError(`Line ${String(index + 1)}: the template rewrites the history.`);
      const positions = whole.flatMap((_, at) => (at >= Math.max(1, prompt.length) ? [at] : []));
      if (positions.length === 0) continue;
      rows.push({
        rowId: `${String(index)}.${String(place)}`,
        groupId: String(Math.floor(index / options.batchSize)).padStart(6, '0'),
        tokenIds: whole,
        positions,
        logprobs: positions.map(() => null),
        advantages: positions.map(() => 1),
        weights: positions.map(() => 1),
      });
    }
  }
  return rows;
}
