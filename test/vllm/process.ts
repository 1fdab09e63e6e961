/** The vLLM that serves behind a local backend: which process it is, and how to reach it past the sidecar. */
import { readFile } from 'node:fs/promises';
import type { RunningLocalBackend } from '../../src/backends/local/index.ts';

export interface ServingProcess {
  /** Of vLLM's API server. */
  readonly pid: number;
  readonly baseUrl: string;
  readonly apiKey: string;
  /** How often it was started again. */
  readonly restarts: number;
}

/** Waits up to a minute for a vLLM that is ready after `restarts` restarts or more. */
export async function servingProcess(backend: RunningLocalBackend, restarts = 0): Promise<ServingProcess> {
  const until = Date.now() + 60_000;
  for (;;) {
    const { serving } = await backend.health();
    if (serving?.state === 'lost') throw new Error('vLLM is lost.');
    if (serving?.state === 'ready' && serving.restarts >= restarts && serving.pid !== null)
      return describeProcess(serving.pid, serving.restarts);
    if (Date.now() > until) throw new Error(`vLLM is not ready: ${JSON.stringify(serving)}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

async function describeProcess(guard: number, restarts: number): Promise<ServingProcess> {
  const children = await readFile(`/proc/${String(guard)}/task/${String(guard)}/children`, 'utf8');
  const pid = Number(children.trim().split(' ')[0]);
  const command = (await readFile(`/proc/${String(pid)}/cmdline`, 'utf8')).split('\0');
  const environment = (await readFile(`/proc/${String(pid)}/environ`, 'utf8')).split('\0');
  const port = command[command.indexOf('--port') + 1] ?? '';
  const key = environment.find((one) => one.startsWith('VLLM_API_KEY=')) ?? '';
  return {
    pid,
    baseUrl: `http://127.0.0.1:${port}`,
    apiKey: key.slice('VLLM_API_KEY='.length),
    restarts,
  };
}
