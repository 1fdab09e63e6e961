/**
 * A trajectory as it is stored: without its repetitions, its long texts (`texts.ts`) and the numbers of its tokens
 * (`numbers.ts`), of which only the lengths are left. Calls of one run repeat their history: messages, tools and prompt ids
 * that equal the beginning of what the call before had are written as a count.
 */
import { z } from 'zod';
import { message, modelCall, tokens, toolResult, trajectory } from '../../trajectory/records.ts';

const count = z.int().nonnegative();
/** A list where it stands, as in older records, or how many of the numbers that lie apart come here. */
const idsOrCount = z.union([tokens.shape.completionIds, count]);

const storedCall = modelCall.extend({
  request: modelCall.shape.request.extend({
    messages: z.object({
      kept: count,
      added: z.array(message),
      /** Numbers of the contents of `added` that lie apart, zero for others. */
      texts: z.array(count).optional(),
    }),
    /** null: as in the call before. */
    tools: modelCall.shape.request.shape.tools.unwrap().nullable(),
  }),
  /** `text`: the same for the content of the answer. */
  response: modelCall.shape.response.extend({ text: count.optional() }),
  tokens: tokens
    .extend({
      promptIds: z.object({ kept: count, added: idsOrCount }),
      completionIds: idsOrCount,
      logprobs: z.union([tokens.shape.logprobs, count]),
    })
    .nullable(),
});

/** `text`: the same for an output that is a text. */
const storedResult = toolResult.extend({ text: count.optional() });

/** For validation where it is written and where it is read. */
export const storedTrajectory = trajectory.extend({
  events: z.array(z.discriminatedUnion('kind', [storedCall, storedResult])),
  /** Lengths of the texts that lie apart, in code units. */
  texts: z.array(count).optional(),
});
export type StoredTrajectory = z.infer<typeof storedTrajectory>;
export type StoredCall = z.infer<typeof storedCall>;
export type StoredResult = z.infer<typeof storedResult>;
export type StoredTokens = NonNullable<StoredCall['tokens']>;
