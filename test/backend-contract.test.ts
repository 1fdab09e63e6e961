/**
 * One suite for all backends: the local one with each engine that runs on a CPU, on a host of its own, and the
 * serverless one against the stand-in, which trains for real.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { backendContract } from '../src/backends/contract.ts';
import { ensureEnvironment, localBackend, tinyModelFolder } from '../src/backends/local/index.ts';
import { serverlessBackend } from '../src/backends/serverless/index.ts';
import { startSidecarEngine, startWandbServer } from '../src/testing/wandb-server/index.ts';
import { endHosts, serve } from './remote-host.ts';

const name = 'contract';
const fresh = (): Promise<string> => mkdtemp(join(tmpdir(), 'apprentice-contract-'));

backendContract('local', async () => {
  const { python } = await ensureEnvironment({ dev: true });
  const backend = localBackend({ environment: python });
  const folder = await fresh();
  const context = { project: 'test', name, baseModel: tinyModelFolder(), folder };
  return { backend, name, start: () => backend.start(context), tearDown: () => Promise.resolve() };
});

backendContract('local, trained with torchtune', async () => {
  const { python } = await ensureEnvironment({ set: 'torchtune', dev: true });
  const backend = localBackend({ environment: python, training: 'torchtune' });
  const folder = await fresh();
  const context = { project: 'test', name, baseModel: tinyModelFolder(), folder };
  return { backend, name, start: () => backend.start(context), tearDown: () => Promise.resolve() };
});

backendContract('remote', async () => {
  const { port, tokenFile } = await serve();
  const backend = localBackend({ remote: { url: `http://127.0.0.1:${String(port)}`, tokenFile } });
  const context = { project: 'test', name, baseModel: tinyModelFolder(), folder: await fresh() };
  return { backend, name, start: () => backend.start(context), tearDown: endHosts };
});

backendContract('serverless', async () => {
  const { python } = await ensureEnvironment({ dev: true });
  const server = await startWandbServer({ engine: await startSidecarEngine({ python }) });
  const { apiKey, trainingUrl, wandbUrl } = server;
  const backend = serverlessBackend({ apiKey, trainingUrl, wandbUrl, pollMs: 50, checkpointTimeoutMs: 2000 });
  const folder = await fresh();
  const context = { project: 'test', name, baseModel: 'apprentice/tiny', folder };
  return { backend, name, start: () => backend.start(context), tearDown: () => server.close() };
});
