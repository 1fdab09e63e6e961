/** Servers that speak the OpenAI dialect, asked as an agent asks them: chat, log-probabilities, token ids. */
import { randomBytes } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';
import { localBackend } from '../../src/backends/local/index.ts';
import type { Decoded, Round, Subject } from './subjects.ts';

interface Address {
  /** Ends in `/v1`. */
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly model: string;
}

const answer = z.object({ choices: z.array(z.object({ token_ids: z.array(z.number()) })).length(1) });

/** How long vLLM may take to start. */
const startMs = 300_000;

/** Our server with `model` as its base model, through the local backend. */
export async function startOurs(
  model: string,
  folder: string,
  say: (line: string) => void,
): Promise<Subject> {
  const backend = await localBackend().start({
    project: 'bench',
    name: 'bench',
    baseModel: model,
    folder,
    onProgress: ({ message }) => {
      say(message);
    },
  });
  const endpoint = await backend.endpoint('base');
  return {
    name: 'apprentice over HTTP',
    threaded: false,
    decode: (round) => decode(endpoint, round, () => Promise.resolve(undefined)),
    close: () => backend.close(),
  };
}

/** vLLM's server on a CPU. `python`: an interpreter that has vLLM. */
export async function startVllm(python: string, model: string): Promise<Subject> {
  const port = await freePort();
  const apiKey = randomBytes(16).toString('hex');
  const server = execa(
    python,
    ['-m', 'vllm.entrypoints.openai.api_server', '--model', model, '--served-model-name', 'base']
      .concat(['--dtype', 'float32', '--max-model-len', '1024', '--enforce-eager'])
      .concat(['--host', '127.0.0.1', '--port', String(port)]),
    {
      env: {
        VLLM_API_KEY: apiKey,
        VLLM_CPU_KVCACHE_SPACE: '1',
        VLLM_CPU_OMP_THREADS_BIND: 'nobind',
        VLLM_NO_USAGE_STATS: '1',
        DO_NOT_TRACK: '1',
        HF_HUB_OFFLINE: '1',
        OMP_WAIT_POLICY: 'PASSIVE',
      },
      // A group of its own: its engine is a process that outlives it otherwise.
      detached: true,
      reject: false,
      buffer: false,
    },
  );
  const tail: string[] = [];
  createInterface({ input: server.stderr }).on('line', (line) => {
    tail.push(line);
    if (tail.length > 30) tail.shift();
  });
  server.stdout.resume();
  const group = server.pid;
  if (group === undefined) throw new Error(`${python} cannot be started.`);
  const address = { baseUrl: `http://127.0.0.1:${String(port)}/v1`, apiKey, model: 'base' };
  const state = { ended: false };
  void server.then(() => {
    state.ended = true;
  });
  const close = async (): Promise<void> => {
    if (!state.ended) process.kill(-group, 'SIGKILL');
    await server;
  };
  const deadline = Date.now() + startMs;
  while (!(await answers(address))) {
    if (!state.ended && Date.now() < deadline) await sleep(1000);
    else {
      await close();
      throw new Error(`vLLM did not start:\n${tail.join('\n')}`);
    }
  }
  return {
    name: 'vLLM over HTTP',
    threaded: false,
    decode: (round) => decode(address, round, () => peakOfGroup(group)),
    close,
  };
}

/** Each stream asks twice, one request after the other; an answer may end before its length is reached. */
async function decode(
  address: Address,
  round: Round,
  peak: () => Promise<number | undefined>,
): Promise<Decoded> {
  const started = performance.now();
  const counts = await Promise.all(
    Array.from({ length: round.streams }, async (_, stream) => {
      const first = await ask(address, round, 2 * stream);
      return first + (await ask(address, round, 2 * stream + 1));
    }),
  );
  const tokens = counts.reduce((sum, one) => sum + one, 0);
  const seconds = (performance.now() - started) / 1000;
  return { tokens, seconds, cpuSeconds: undefined, peakMegabytes: await peak() };
}

async function ask({ baseUrl, apiKey, model }: Address, round: Round, number: number): Promise<number> {
  const response = await fetch(`${baseUrl}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${apiKey}` },
    body: JSON.stringify({
      model,
      messages: [{ role: 'user', content: words(round, number) }],
      max_tokens: round.new,
      temperature: 1,
      logprobs: true,
      return_token_ids: true,
    }),
  });
  if (!response.ok)
    throw new Error(`${baseUrl} answered ${String(response.status)}: ${await response.text()}`);
  return answer.parse(await response.json()).choices[0]?.token_ids.length ?? 0;
}

const vocabulary = 'order parcel late refund please answer the number of my customer today and thanks'.split(
  ' ',
);

/** A prompt of about as many tokens as the round wants, never the same twice. */
function words({ seed, prompt }: Round, number: number): string {
  let state = seed * 1009 + number;
  return Array.from({ length: Math.floor(prompt / 2) }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return vocabulary[(state >>> 8) % vocabulary.length];
  }).join(' ');
}

async function answers({ baseUrl, apiKey }: Address): Promise<boolean> {
  try {
    return (await fetch(`${baseUrl}/models`, { headers: { authorization: `Bearer ${apiKey}` } })).ok;
  } catch {
    return false;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The sum of the peaks of a group's processes, where there is a /proc. */
async function peakOfGroup(group: number): Promise<number | undefined> {
  let kilobytes = 0;
  for (const pid of await readdir('/proc').catch(() => [])) {
    const stat = await readFile(join('/proc', pid, 'stat'), 'utf8').catch(() => '');
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[2]) !== group) continue;
    const status = await readFile(join('/proc', pid, 'status'), 'utf8').catch(() => '');
    kilobytes += Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
  }
  return kilobytes === 0 ? undefined : kilobytes / 1024;
}
