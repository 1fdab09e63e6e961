/** Feedback on what agents of LangGraph did, by the ids that LangChain gives, at once and after a restart. */
import { expect, it } from 'vitest';
import { instrument, wrapModel } from '../src/adapters/langchain/index.ts';
import { createApprentice, type Apprentice } from '../src/index.ts';
import { createAgent } from './langchain-entry-points.ts';
import { scriptedModel } from './langchain-models.ts';
import { sets, type LangChainSet } from './langchain-sets.ts';
import { freshFolder } from './recording.ts';

function open(folder: string): Apprentice {
  return createApprentice({ project: 'test', name: 'agent', folder });
}

it('lands by the id of a message, of a run and of a thread, the moment after the answer', async () => {
  const set = sets[0] as LangChainSet;
  const folder = await freshFolder();
  const apprentice = open(folder);
  const model = wrapModel(
    scriptedModel(set, [{ tool: 'weather', args: { city: 'Paris' } }, 'rain']),
    apprentice,
  );
  const agent = instrument(
    createAgent(set, model, { checkpointer: new set.graph.MemorySaver() }),
    apprentice,
  );
  const runId = crypto.randomUUID();
  const { messages } = await agent.invoke(
    { messages: [{ role: 'user', content: 'weather?' }] },
    { runId, configurable: { thread_id: 'thread-1' } },
  );
  const responseId = messages.at(-1)?.id ?? '';
  await apprentice.feedback({ responseId }, { name: 'helpful', value: 1 });
  await apprentice.feedback({ runId }, { name: 'fast', value: 0.5 });
  await apprentice.feedback({ threadId: 'thread-1' }, { name: 'resolved', value: 1 });
  await apprentice.close();

  const later = open(folder);
  await later.feedback({ responseId }, { name: 'returned', value: 0 });
  const store = await later.store();
  const [found, ...more] = await store.find({ threadId: 'thread-1' });
  expect(more).toEqual([]);
  expect(found?.trajectory).toMatchObject({ runId, events: [{}, { kind: 'tool-result' }, {}] });
  const values = Object.fromEntries((found?.feedback ?? []).map(({ name, value }) => [name, value]));
  expect(values).toEqual({ helpful: 1, fast: 0.5, resolved: 1, returned: 0 });
  await later.close();
});
