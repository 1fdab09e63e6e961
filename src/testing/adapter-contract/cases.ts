/** What every adapter must do, as cases that any test runner can run. */
import assert from 'node:assert/strict';
import { memoryHost } from '../memory-host.ts';
import { startPolicyHost } from '../policy-host.ts';
import { echo, rawArguments, sentArguments, structured, text, tools } from './scripts.ts';
import { assertAnswered, callsOf, onlyTrajectory, onStage, startScript, type Answerer } from './stage.ts';
import type { AdapterUnderTest, AgentUnderTest, ContractTarget } from './subject.ts';

export interface ContractCase {
  /** States what holds. */
  readonly title: string;
  /** Rejects, by an AssertionError mostly, where it does not hold. */
  readonly run: () => Promise<void>;
}

const question = 'What is the weather in Paris?';
const rain = (): Promise<string> => Promise.resolve('rain');
const answerers = ['incumbent', 'policy'] as const satisfies readonly Answerer[];

/** The cases of the contract: plain, stream, tools, structured output, abort, error, retry, parallel, nested. */
export function adapterContract(adapter: AdapterUnderTest): readonly ContractCase[] {
  return [...answerers.flatMap((who) => casesOn(adapter, who)), ...casesOnBoth(adapter)];
}

function casesOn(adapter: AdapterUnderTest, who: Answerer): ContractCase[] {
  const ways: readonly (readonly [name: string, way: (agent: AgentUnderTest) => Promise<string>])[] = [
    ['a plain call', (agent) => agent.ask(question)],
    ['a streamed call', (agent) => agent.stream(question)],
  ];
  const loops = ['plain', 'stream'] as const;
  return [
    ...ways.map(([name, way]): ContractCase => ({
      title: `${who}: ${name} gives the answer, once on record`,
      run: () =>
        onStage(adapter, who, [text], async ({ agent, host, server }) => {
          assert.equal(await host.recorder.run({ scenario: 's' }, () => way(agent)), text.text);
          const trajectory = onlyTrajectory(host);
          const [call, ...more] = callsOf(trajectory);
          assert.equal(more.length, 0);
          assertAnswered(call, who, text);
          assert.equal(call?.streamed, server.requests[0]?.body.stream === true);
          assert.equal(trajectory.scenario, 's');
        }),
    })),
    ...loops.map((way): ContractCase => ({
      title: `${who}: a loop over tools is one trajectory, arguments stay as sampled (${way})`,
      run: () =>
        onStage(adapter, who, [tools, text], async ({ agent, host, server }) => {
          const loop = () => agent.useTools(question, { way, weather: rain });
          assert.equal(await host.recorder.run({}, loop), text.text);
          const { events } = onlyTrajectory(host);
          const kinds = events.map((event) => event.kind);
          assert.deepEqual(kinds, ['model-call', 'tool-result', 'model-call']);
          const [first, result, last] = events;
          assert.ok(first?.kind === 'model-call' && last?.kind === 'model-call');
          assertAnswered(first, who, tools);
          assertAnswered(last, who, text);
          assert.ok(result?.kind === 'tool-result');
          assert.deepEqual([result.toolName, result.input], ['weather', rawArguments]);
          assert.match(JSON.stringify(result.output), /rain/);
          if (who === 'policy') assert.equal(sentArguments(server.requests[1]), rawArguments);
        }),
    })),
    {
      title: `${who}: structured output is what the schema says`,
      run: () =>
        onStage(adapter, who, structured, async ({ agent, host }) => {
          assert.deepEqual(await host.recorder.run({}, () => agent.extract(question)), { city: 'Paris' });
          const [call, ...more] = callsOf(onlyTrajectory(host));
          assert.equal(more.length, 0);
          assert.equal(call?.outcome.status, 'ok');
          assert.equal(call.trainability.trainable, who === 'policy');
        }),
    },
    {
      title: `${who}: an abort in a plain call reaches the server and is no failure`,
      run: () =>
        onStage(
          adapter,
          who,
          () => ({ kind: 'hang', text: '' }),
          async ({ agent, host, server }) => {
            const signal = AbortSignal.timeout(50);
            await assert.rejects(host.recorder.run({}, () => agent.ask(question, { signal })));
            await until(() => server.abandoned === server.requests.length);
            const statuses = callsOf(onlyTrajectory(host)).map((call) => call.outcome.status);
            assert.deepEqual(statuses, ['aborted']);
          },
        ),
    },
    {
      title: `${who}: an abort in a stream reaches the server and keeps what came`,
      run: () =>
        onStage(
          adapter,
          who,
          () => ({ kind: 'hang', text: 'so far ' }),
          async ({ agent, host, server }) => {
            const controller = new AbortController();
            const onText = (said: string) => {
              if (said === 'so far ') controller.abort();
              return undefined;
            };
            const streaming = host.recorder.run({}, () =>
              agent.stream(question, { signal: controller.signal, onText }),
            );
            await streaming.catch(() => undefined);
            await until(() => server.abandoned === 1);
            const [call] = callsOf(onlyTrajectory(host));
            assert.ok(['aborted', 'cancelled'].includes(call?.outcome.status ?? ''), call?.outcome.status);
            assert.equal(call?.response.message?.content, 'so far ');
          },
        ),
    },
    {
      title: `${who}: what came of a stream that its reader leaves is on record`,
      run: () =>
        onStage(adapter, who, [{ kind: 'hang', text: 'so far ' }], async ({ agent, host }) => {
          const onText = (said: string) => (said === 'so far ' ? ('leave' as const) : undefined);
          assert.equal(await host.recorder.run({}, () => agent.stream(question, { onText })), 'so far ');
          const [call] = callsOf(onlyTrajectory(host));
          assert.ok(['abandoned', 'cancelled'].includes(call?.outcome.status ?? ''), call?.outcome.status);
          assert.equal(call?.response.message?.content, 'so far ');
        }),
    },
    ...ways.map(([name, way]): ContractCase => ({
      title: `${who}: an error of the server fails ${name}, with the reason on record`,
      run: () =>
        onStage(
          adapter,
          who,
          [{ kind: 'status', status: 400, message: 'scripted refusal' }],
          async ({ agent, host }) => {
            await assert.rejects(
              host.recorder.run({}, () => way(agent)),
              /scripted refusal/,
            );
            const [call, ...more] = callsOf(onlyTrajectory(host));
            assert.equal(more.length, 0);
            assert.match(JSON.stringify(call?.outcome), /"error".*scripted refusal/);
          },
        ),
    })),
    ...(['error-chunk', 'dead-socket'] as const).map((kind): ContractCase => ({
      title: `${who}: a stream that ends by ${kind} fails, and keeps what came`,
      run: () =>
        onStage(adapter, who, [{ kind, text: 'so far ' }], async ({ agent, host }) => {
          await assert.rejects(host.recorder.run({}, () => agent.stream(question)));
          const [call] = callsOf(onlyTrajectory(host));
          assert.equal(call?.outcome.status, 'error');
          assert.equal(call.response.message?.content, 'so far ');
        }),
    })),
    ...ways.map(([name, way]): ContractCase => ({
      title: `${who}: ${name} that is tried again is on record as two, linked`,
      run: () =>
        onStage(
          adapter,
          who,
          [{ kind: 'status', status: 500 }, text],
          async ({ agent, host }) => {
            assert.equal(await host.recorder.run({}, () => way(agent)), text.text);
            const [first, second, ...more] = callsOf(onlyTrajectory(host));
            assert.equal(more.length, 0);
            assert.equal(first?.outcome.status, 'error');
            assertAnswered(second, who, text);
            assert.equal(second?.retryOf, first.id);
          },
          1,
        ),
    })),
    {
      title: `${who}: 60 runs at once keep apart, each loop of a run in its own trajectory`,
      run: () =>
        onStage(adapter, who, echo, async ({ agent, host }) => {
          const one = (index: number) => {
            const city = `city-${String(index)}`;
            const way = index % 2 === 0 ? 'plain' : 'stream';
            const settings = {
              way,
              weather: (asked: string) => Promise.resolve(`rain in ${asked}`),
            } as const;
            return host.recorder.run({ scenario: city }, () => agent.useTools(city, settings));
          };
          const answers = await Promise.all(Array.from({ length: 60 }, (_, index) => one(index)));
          answers.forEach((answer, index) => {
            assert.equal(answer, `seen: rain in city-${String(index)}`);
          });
          const trajectories = host.finished();
          assert.equal(trajectories.length, 60);
          for (const trajectory of trajectories) {
            const calls = callsOf(trajectory);
            const city = String(trajectory.scenario);
            assert.equal(calls.length, 2);
            assert.ok(calls.every((call) => JSON.stringify(call.request.messages).includes(`"${city}"`)));
            assert.equal(calls[1]?.response.message?.content, `seen: rain in ${city}`);
          }
        }),
    },
    ...loops.map((way): ContractCase => ({
      title: `${who}: an agent inside a tool is a child run, or part of the run without one of its own (${way})`,
      run: () =>
        onStage(adapter, who, [tools, text, text, tools, text, text], async ({ agent, host }) => {
          const child = () => host.recorder.run({ scenario: 'child' }, () => agent.ask('And in Rome?'));
          const outer = (weather: () => Promise<string>) => agent.useTools(question, { way, weather });
          await host.recorder.run({ scenario: 'parent' }, () => outer(child));
          const parent = host.finished().find((one) => one.scenario === 'parent');
          const inner = host.finished().find((one) => one.scenario === 'child');
          assert.equal(inner?.parentId, parent?.id);
          assert.equal(inner?.parentCallId, parent === undefined ? '' : callsOf(parent)[0]?.id);
          assert.deepEqual(
            [inner, parent].map((one) => one && callsOf(one).length),
            [1, 2],
          );
          await host.recorder.run({ scenario: 'flat' }, () => outer(() => agent.ask('And in Rome?')));
          const flat = host.finished().find((one) => one.scenario === 'flat');
          assert.equal(flat === undefined ? 0 : callsOf(flat).length, 3);
        }),
    })),
    {
      title: `${who}: a call outside any run is a trajectory of its own`,
      run: () =>
        onStage(adapter, who, [text, text], async ({ agent, host }) => {
          await agent.ask(question);
          await agent.stream(question);
          await until(() => host.finished().length === 2);
          for (const trajectory of host.finished()) assertAnswered(callsOf(trajectory)[0], who, text);
        }),
    },
  ];
}

function casesOnBoth(adapter: AdapterUnderTest): ContractCase[] {
  return [
    {
      title: 'recorded and bare agents send the same requests to the incumbent and give the same results',
      run: async () => {
        const script = [text, text, tools, text, tools, text];
        const play = async (host: ContractTarget['host']) => {
          const server = await startScript(script);
          try {
            const { baseUrl } = server;
            const agent = adapter.connect({ baseUrl, apiKey: 'key-of-the-user', host, maxRetries: 0 });
            const results = [
              await agent.ask(question),
              await agent.stream(question),
              await agent.useTools(question, { way: 'plain', weather: rain }),
              await agent.useTools(question, { way: 'stream', weather: rain }),
            ];
            return { results, requests: server.requests.map(({ body, headers }) => [body, named(headers)]) };
          } finally {
            await server.close();
          }
        };
        assert.deepEqual(await play(memoryHost()), await play(undefined));
      },
    },
    {
      title: 'nothing of the user reaches the policy, and nothing of the record reaches the user',
      run: () =>
        onStage(adapter, 'policy', [text], async ({ agent, host, server }) => {
          await host.recorder.run({}, () => agent.ask(question));
          const [request] = server.requests;
          assert.equal(request?.headers.authorization, 'Bearer secret-of-the-policy');
          assert.ok(!JSON.stringify(request).includes('key-of-the-user'));
        }),
    },
    ...(['plain', 'stream'] as const).map((way): ContractCase => ({
      title: `in production the incumbent answers for a policy that cannot (${way})`,
      run: async () => {
        const own = { kind: 'text', text: 'from the incumbent' } as const;
        const incumbent = await startScript([own]);
        const host = await startPolicyHost([{ kind: 'status', status: 503 }], 'incumbent');
        try {
          const { baseUrl } = incumbent;
          const agent = adapter.connect({ baseUrl, apiKey: 'key-of-the-user', host, maxRetries: 0 });
          const call = () => (way === 'plain' ? agent.ask(question) : agent.stream(question));
          assert.equal(await host.recorder.run({}, call), own.text);
          const [first, second, ...more] = callsOf(onlyTrajectory(host));
          assert.equal(more.length, 0);
          assert.equal(first?.outcome.status, 'error');
          assert.deepEqual(second?.trainability, { trainable: false, reason: 'fallback' });
          assert.deepEqual([second.served.policy, second.retryOf], [null, first.id]);
        } finally {
          await Promise.all([incumbent.close(), host.close()]);
        }
      },
    })),
  ];
}

/** Headers without those that differ from one connection or attempt to the next. */
function named(headers: Readonly<Record<string, unknown>>): unknown {
  const { host: _host, connection: _connection, traceparent: _trace, ...rest } = headers;
  return rest;
}

async function until(holds: () => boolean, withinMs = 5000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `this did not come to hold: ${String(holds)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
