/** Which run a call of LangChain or LangGraph is recorded in, without any scope around it. */
import type { BaseMessage } from '@langchain/core/messages';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { instrument, wrapModel, wrapTools } from '../src/adapters/langchain/index.ts';
import type { Trajectory } from '../src/index.ts';
import { createAgent } from './langchain-entry-points.ts';
import { scriptedModel, storedBytes, type Said } from './langchain-models.ts';
import { sets } from './langchain-sets.ts';
import { memoryHost } from '../src/testing/memory-host.ts';

const user = (content: string) => ({ messages: [{ role: 'user', content }] });
const callWeather: Said = { tool: 'weather', args: { city: 'Paris' } };

function kinds({ events }: Trajectory): string[] {
  return events.map((event) => event.kind);
}

/** What the first message of each model call says. */
function firstWords(trajectory: Trajectory): unknown[] {
  return trajectory.events.flatMap((event) =>
    event.kind === 'model-call' ? [event.request.messages.find((one) => one.role === 'user')?.content] : [],
  );
}

describe.each(sets)('$name', (set) => {
  const { StateGraph, MessagesAnnotation, MemorySaver, Send, Command, START, END, interrupt } = set.graph;

  it('takes each invocation of a thread for a run of its own, under the id of the thread', async () => {
    const host = memoryHost();
    const agent = createAgent(set, wrapModel(scriptedModel(set, [callWeather, 'rain', 'bye']), host), {
      checkpointer: new MemorySaver(),
    });
    const config = { configurable: { thread_id: 'thread-1' } };
    await agent.invoke(user('weather?'), config);
    await agent.invoke(user('thanks'), config);
    const [first, second, ...more] = host.finished();
    expect(more).toEqual([]);
    expect(first).toMatchObject({ threadId: 'thread-1' });
    expect(first && kinds(first)).toEqual(['model-call', 'tool-result', 'model-call']);
    expect(second).toMatchObject({ threadId: 'thread-1' });
    expect(second && kinds(second)).toEqual(['model-call']);
  });

  it('goes on in the same run after an interrupt, each call once', async () => {
    const host = memoryHost();
    const agent = createAgent(set, wrapModel(scriptedModel(set, [callWeather, 'rain']), host), {
      checkpointer: new MemorySaver(),
      middleware: [set.langchain.humanInTheLoopMiddleware({ interruptOn: { weather: true } } as never)],
    });
    const config = { configurable: { thread_id: 'thread-1' } };
    const stopped = await agent.invoke(user('weather?'), config);
    expect(stopped).toHaveProperty('__interrupt__');
    const resume = { decisions: [{ type: 'approve' }] };
    await agent.invoke(new Command({ resume }) as never, config);
    expect(host.finished().map(kinds)).toEqual([['model-call', 'tool-result', 'model-call']]);
  });

  it('records a node that runs again after an interrupt with what it really called', async () => {
    const host = memoryHost();
    const model = wrapModel(scriptedModel(set, ['one', 'two']), host);
    const graph = new StateGraph(MessagesAnnotation)
      .addNode('ask', async ({ messages }) => {
        const answer = await model.invoke(messages);
        const said: unknown = interrupt('go on?');
        return { messages: [answer, String(said)] };
      })
      .addEdge(START, 'ask')
      .addEdge('ask', END)
      .compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: 'thread-1' } };
    await graph.invoke(user('hello'), config);
    await graph.invoke(new Command({ resume: 'yes' }), config);
    const answers = host
      .finished()
      .flatMap(({ events }) =>
        events.map((event) => event.kind === 'model-call' && event.response.message?.content),
      );
    expect(answers).toEqual(['one', 'two']);
  });

  it('keeps parallel branches of a graph in its run, whether nodes hand their configuration on or not', async () => {
    const host = memoryHost();
    const model = wrapModel(scriptedModel(set, 'echo'), host);
    const graph = new StateGraph(MessagesAnnotation)
      .addNode('branch', async ({ messages }: { messages: BaseMessage[] }, config) => {
        const text = messages[0]?.text ?? '';
        const answer = text.endsWith('0')
          ? await model.invoke(messages, config)
          : await model.invoke(messages);
        return { messages: [answer] };
      })
      .addConditionalEdges(START, ({ messages }) =>
        [0, 1, 2].map(
          (index) =>
            new Send('branch', {
              messages: [new set.messages.HumanMessage(`${messages[0]?.text ?? ''} ${String(index)}`)],
            }),
        ),
      )
      .addEdge('branch', END)
      .compile();
    await Promise.all([graph.invoke(user('first')), graph.invoke(user('second'))]);
    const words = host.finished().map((one) => firstWords(one).toSorted());
    expect(words.toSorted()).toEqual([
      ['first 0', 'first 1', 'first 2'],
      ['second 0', 'second 1', 'second 2'],
    ]);
  });

  it('takes a fork from an older checkpoint for a run of its own on the same thread', async () => {
    const host = memoryHost();
    const agent = createAgent(set, wrapModel(scriptedModel(set, [callWeather, 'rain', 'sun']), host), {
      checkpointer: new MemorySaver(),
    });
    const config = { configurable: { thread_id: 'thread-1' } };
    await agent.invoke(user('weather?'), config);
    for await (const state of agent.graph.getStateHistory(config)) {
      // Before the last call: the tool has answered.
      const { messages } = state.values as { messages: unknown[] };
      if (state.next[0] === 'model_request' && messages.length === 3) {
        await agent.invoke(null as never, state.config as never);
        break;
      }
    }
    const [first, fork] = host.finished();
    expect(first && kinds(first)).toEqual(['model-call', 'tool-result', 'model-call']);
    expect(fork).toMatchObject({
      threadId: 'thread-1',
      events: [{ kind: 'tool-result' }, { kind: 'model-call' }],
    });
  });

  it('links what withRetry and a retrying node call again', async () => {
    const host = memoryHost();
    const retrying = wrapModel(scriptedModel(set, [new Error('busy'), 'there']), host).withRetry();
    await host.recorder.run({}, () => retrying.invoke('hello'));
    const model = wrapModel(scriptedModel(set, [new Error('busy'), 'there']), host);
    const graph = new StateGraph(MessagesAnnotation)
      .addNode(
        'ask',
        async ({ messages }: { messages: BaseMessage[] }) => ({ messages: [await model.invoke(messages)] }),
        {
          retryPolicy: { maxAttempts: 2, initialInterval: 1 },
        },
      )
      .addEdge(START, 'ask')
      .addEdge('ask', END)
      .compile();
    await graph.invoke(user('hello'));
    for (const { events } of host.finished()) {
      expect(events).toMatchObject([
        { outcome: { status: 'error', error: { message: 'busy' } } },
        { outcome: { status: 'ok' }, retryOf: events[0]?.kind === 'model-call' ? events[0].id : '' },
      ]);
    }
    expect(host.finished()).toHaveLength(2);
  });

  it('records a model and its fallback as two calls of one run', async () => {
    const host = memoryHost();
    const agent = createAgent(set, wrapModel(scriptedModel(set, [new Error('down')]), host), {
      middleware: [
        set.langchain.modelFallbackMiddleware(wrapModel(scriptedModel(set, ['from the other']), host)),
      ],
    });
    const { messages } = await agent.invoke(user('hello'));
    expect(messages.at(-1)?.text).toBe('from the other');
    expect(host.finished()).toMatchObject([
      { events: [{ outcome: { status: 'error' } }, { outcome: { status: 'ok' } }] },
    ]);
  });

  it('keeps 200 concurrent runs with sub-agents apart', async () => {
    const host = memoryHost();
    // Each agent calls its sub-agents with its own question, and answers with what they say.
    const model = wrapModel(scriptedModel(set, 'delegate'), host);
    const sub = set.langchain.createAgent({ model, tools: [], name: 'helper' });
    const saved = set.langchain.createAgent({
      model,
      tools: [],
      name: 'saver',
      checkpointer: new MemorySaver(),
    });
    const help = (handsOn: boolean) =>
      set.tools.tool(
        async ({ question }: { question: string }, config: object) => {
          const asked = user(`sub of ${question}`);
          if (handsOn) return (await sub.invoke(asked, config)).messages.at(-1)?.text ?? '';
          await saved.invoke(asked, { configurable: { thread_id: `helper of ${question}` } });
          return (await sub.invoke(asked)).messages.at(-1)?.text ?? '';
        },
        { name: 'help', description: 'Asks a helper.', schema: z.object({ question: z.string() }) },
      );
    const agentWith = (tool: ReturnType<typeof help>) =>
      set.langchain.createAgent({ model, tools: [tool], checkpointer: new MemorySaver() });
    const handing = agentWith(help(true));
    const wrapping = agentWith(wrapTools([help(false)], host)[0] as ReturnType<typeof help>);
    const careless = agentWith(help(false));
    const work = async (agent: typeof careless, question: string, streamed: boolean) => {
      const config = { configurable: { thread_id: question } };
      if (!streamed) await agent.invoke(user(question), config);
      else for await (const _ of await agent.stream(user(question), { ...config, streamMode: 'messages' }));
    };
    await Promise.all(
      Array.from({ length: 200 }, (_, index) => {
        const question = `question ${String(index)}.`;
        const streamed = index % 8 < 4;
        switch (index % 4) {
          case 0:
            return work(handing, question, streamed);
          case 1:
            return work(wrapping, question, streamed);
          case 2:
            return host.recorder.run({ threadId: question }, () => work(careless, question, streamed));
          default:
            return host.recorder.run({ threadId: question }, () => work(handing, question, streamed));
        }
      }),
    );
    const trajectories = host.finished();
    expect(trajectories).toHaveLength(200);
    for (const trajectory of trajectories) {
      const question = String(trajectory.threadId);
      const index = Number(/\d+/.exec(question)?.[0]);
      const helpers = index % 4 === 1 || index % 4 === 2 ? 2 : 1;
      const helped = Array.from({ length: helpers }, () => `sub of ${question}`);
      expect(firstWords(trajectory)).toEqual([question, ...helped, question]);
    }
  });

  it('gives sub-agents that nothing ties to their caller runs of their own, never those of others', async () => {
    const host = memoryHost();
    const model = wrapModel(scriptedModel(set, 'delegate'), host);
    const saved = set.langchain.createAgent({ model, tools: [], checkpointer: new MemorySaver() });
    const help = set.tools.tool(
      async ({ question }: { question: string }) => {
        const config = { configurable: { thread_id: `helper of ${question}` } };
        return (await saved.invoke(user(`sub of ${question}`), config)).messages.at(-1)?.text ?? '';
      },
      { name: 'help', description: 'Asks a helper.', schema: z.object({ question: z.string() }) },
    );
    const agent = set.langchain.createAgent({ model, tools: [help], checkpointer: new MemorySaver() });
    const questions = Array.from({ length: 50 }, (_, index) => `question ${String(index)}.`);
    await Promise.all(
      questions.map((question) => agent.invoke(user(question), { configurable: { thread_id: question } })),
    );
    const words = new Map(host.finished().map((one) => [one.threadId, firstWords(one)]));
    for (const question of questions) {
      expect(words.get(question)).toEqual([question, question]);
      expect(words.get(`helper of ${question}`)).toEqual([`sub of ${question}`]);
    }
    expect(words.size).toBe(100);
  });

  it('opens no run where the user has one open', async () => {
    const host = memoryHost();
    const agent = createAgent(set, wrapModel(scriptedModel(set, [callWeather, 'rain']), host));
    await host.recorder.run({ scenario: 's' }, () => agent.invoke(user('weather?')));
    expect(host.finished()).toMatchObject([{ scenario: 's', events: [{}, {}, {}] }]);
  });

  it('records what tools give when they run, also where no prompt shows it', async () => {
    const answers = async (tools: readonly unknown[], host = memoryHost()) => {
      const model = scriptedModel(set, [{ tool: 'last', args: {} }, 'unused']);
      const agent = set.langchain.createAgent({ model: wrapModel(model, host), tools: tools as never });
      return (await agent.invoke(user('do it'))).messages.map((message) => [message.type, message.text]);
    };
    const last = set.tools.tool(() => 'done', {
      name: 'last',
      description: 'Ends it.',
      schema: z.object({}),
      returnDirect: true,
    });
    const fails = set.tools.tool(
      (): string => {
        throw new Error('no luck');
      },
      {
        name: 'last',
        description: 'Fails.',
        schema: z.object({}),
      },
    );
    for (const tool of [last, fails]) {
      const host = memoryHost();
      const wrapped = wrapTools([tool], host);
      expect(await answers(wrapped, host)).toEqual(await answers([tool]));
      const [, result] = host.finished()[0]?.events ?? [];
      expect(result).toMatchObject(
        tool === last
          ? { kind: 'tool-result', toolName: 'last', output: 'done' }
          : { kind: 'tool-result', toolName: 'last', error: expect.stringContaining('no luck') as string },
      );
    }
  });

  it('instruments an agent that exists, which is then known by its run id', async () => {
    const host = memoryHost();
    const settings = { checkpointer: new MemorySaver() };
    const agent = createAgent(set, scriptedModel(set, [callWeather, 'rain']), settings).withConfig({
      recursionLimit: 7,
    });
    const recorded = instrument(agent, host);
    const runId = crypto.randomUUID();
    const config = { runId, configurable: { thread_id: 't' } };
    const { messages } = await recorded.invoke(user('weather?'), config);
    expect(messages.at(-1)?.text).toBe('rain');
    expect(recorded.checkpointer).toBe(settings.checkpointer);
    expect(host.finished()).toMatchObject([{ threadId: 't', runId }]);
    expect(kinds(host.finished()[0] as Trajectory)).toEqual(['model-call', 'tool-result', 'model-call']);
    expect(() => instrument(agent.graph, host)).toThrow(/Option "agent" must be an agent.*wrapModel/);
  });

  it('adds at most 1 % to what a checkpointer holds of 10 turns', async () => {
    const turns = async (model: ReturnType<typeof scriptedModel>) => {
      const saver = new MemorySaver();
      const agent = createAgent(set, model, { checkpointer: saver });
      const config = { configurable: { thread_id: 'thread-1' } };
      for (let turn = 0; turn < 10; turn += 1) await agent.invoke(user(`turn ${String(turn)}`), config);
      return storedBytes(saver);
    };
    const text = 'word '.repeat(500);
    const answers = Array.from({ length: 10 }, () => text);
    const host = memoryHost();
    const plain = await turns(scriptedModel(set, answers));
    const wrapped = await turns(wrapModel(scriptedModel(set, answers), host));
    expect(plain).toBeGreaterThan(10 * text.length);
    expect(Math.abs(wrapped / plain - 1)).toBeLessThanOrEqual(0.01);
    expect(host.finished()).toHaveLength(10);
  });
});
