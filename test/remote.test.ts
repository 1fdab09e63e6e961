/** The sidecar on a host of its own: who is let in, what travels, and what cuts and restarts do. Real processes, real TLS. */
import { chmod, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { AdapterRef, RunningBackend, TrainingEvent, TrainingJob } from '../src/backends/backend.ts';
import { localBackend, tinyModelFolder, type RemoteOptions } from '../src/backends/local/index.ts';
import { AdapterRefusedError, BackendUnavailableError, InvalidOptionError } from '../src/errors.ts';
import { sendToPolicy } from '../src/capture/wire/transport.ts';
import { aCall, aTrajectory } from '../src/testing/records.ts';
import type { ModelCall } from '../src/trajectory/records.ts';
import { freshFolder } from './recording.ts';
import { endHosts, relay, serve, type ServingHost } from './remote-host.ts';

const started: RunningBackend[] = [];
afterAll(async () => {
  for (const one of started) await one.close();
  await endHosts();
});

async function start(
  remote: RemoteOptions,
  more: { folder?: string; baseModel?: string; timeoutMs?: number } = {},
): Promise<RunningBackend> {
  const backend = localBackend({ remote, startTimeoutMs: more.timeoutMs ?? 120_000 });
  const running = await backend.start({
    project: 'test',
    name: 'tiny',
    baseModel: more.baseModel ?? tinyModelFolder(),
    folder: more.folder ?? (await freshFolder()),
  });
  started.push(running);
  return running;
}

const plain = (host: ServingHost, port = host.port): RemoteOptions => ({
  url: `http://127.0.0.1:${String(port)}`,
  tokenFile: host.tokenFile,
});

/** `epochs`: gradient steps. */
function job(step: number, parent: AdapterRef | null, epochs = 2): TrainingJob {
  const call = aCall({ promptIds: [5, 6, 7, 8], completionIds: [9, 10, 11] });
  const tokens = {
    promptIds: [5, 6, 7, 8],
    completionIds: [9, 10, 11],
    logprobs: [null, null, null],
    logprobsMode: 'raw',
  };
  const trajectory = aTrajectory({ events: [{ ...call, tokens } as unknown as ModelCall] });
  return {
    jobId: `step-${String(step)}`,
    name: 'tiny',
    step,
    parent,
    groups: [{ groupId: 'g', members: [{ trajectory, reward: 1, advantage: 1 }] }],
    optimizer: { learningRate: 1e-2, epochs },
  };
}

async function train(
  running: RunningBackend,
  wanted: TrainingJob,
  onEvent: (event: TrainingEvent) => Promise<void> | void = () => undefined,
): Promise<AdapterRef> {
  for await (const event of running.train(wanted)) {
    await onEvent(event);
    if (event.type === 'ended') return event.adapter;
  }
  throw new Error('The job did not end.');
}

const completion = z.looseObject({
  model: z.string(),
  choices: z.array(z.looseObject({ token_ids: z.array(z.int()) })),
});

async function ask(running: RunningBackend, policy: AdapterRef | 'base'): Promise<number[]> {
  const endpoint = await running.endpoint(policy);
  const body = {
    model: endpoint.model,
    messages: [{ role: 'user', content: 'Just respond with yes or no' }],
    temperature: 0,
    max_tokens: 8,
    return_token_ids: true,
  };
  const response = await sendToPolicy(endpoint, body, undefined);
  expect(response.status).toBe(200);
  return completion.parse(await response.json()).choices[0]?.token_ids ?? [];
}

describe('who is let in', () => {
  let host: ServingHost;
  let folder: string;
  /** Where the first test trained a step. */
  let own: string;
  const tls = (): RemoteOptions => ({
    url: `https://localhost:${String(host.port)}`,
    tokenFile: host.tokenFile,
    caFile: join(folder, 'cert.pem'),
  });

  beforeAll(async () => {
    folder = await freshFolder();
    const [key, cert, other] = ['key.pem', 'cert.pem', 'other.pem'].map((name) => join(folder, name));
    for (const made of [cert, other]) {
      await execa('openssl', [
        ...[
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-days',
          '1',
        ],
        ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'],
        ...['-keyout', made === cert ? String(key) : join(folder, 'other-key.pem'), '-out', String(made)],
      ]);
    }
    host = await serve({ more: ['--host', '0.0.0.0', '--tls-cert', String(cert), '--tls-key', String(key)] });
  });

  it('serves over TLS to whoever has the token and trusts its certificate', async () => {
    own = await freshFolder();
    const running = await start(tls(), { folder: own });
    expect((await ask(running, 'base')).length).toBeGreaterThan(0);
    const adapter = await train(running, job(1, null));
    await running.publish(adapter);
    expect((await ask(running, adapter)).length).toBeGreaterThan(0);
  });

  it.each([
    ['another authority', () => ({ ...tls(), caFile: join(folder, 'other.pem') })],
    ['the authorities of Node alone', () => ({ url: tls().url, tokenFile: host.tokenFile })],
    [
      'a name that the certificate is not made for',
      () => ({ ...tls(), url: tls().url.replace('localhost', '127.0.0.1') }),
    ],
  ])('is not trusted by %s, and says so at once', async (_, options) => {
    await expect(start(options())).rejects.toThrow(/certificate of https.* is not trusted.*caFile/);
  });

  it('refuses another token at once', async () => {
    const { tokenFile: _, ...rest } = tls();
    await expect(start({ ...rest, token: 'x'.repeat(64) })).rejects.toThrow(/refuses the token/);
  });

  it('refuses another base model, by name and by the weights that adapters here were trained on', async () => {
    await expect(start(tls(), { baseModel: 'Qwen/Qwen3-4B' })).rejects.toThrow(
      /"baseModel" must be .*tiny-model.* which the sidecar at .* serves/,
    );
    const manifest = join(own, 'models/tiny/adapters/0001/manifest.json');
    const text = await readFile(manifest, 'utf8');
    await writeFile(manifest, text.replace(/"base_digest": "sha256:../, '"base_digest": "sha256:zz'));
    await expect(start(tls(), { folder: own })).rejects.toThrow(InvalidOptionError);
  });

  it('gives up a host that does not answer, after the time that was given', async () => {
    const nobody = { url: 'http://127.0.0.1:9', token: 'x'.repeat(64) };
    await expect(start(nobody, { timeoutMs: 600 })).rejects.toThrow(BackendUnavailableError);
  });

  it('refuses a token file that others may read, on both sides', async () => {
    const tokenFile = join(await freshFolder(), 'token');
    await writeFile(tokenFile, 'x'.repeat(64));
    await chmod(tokenFile, 0o644);
    expect(() => localBackend({ remote: { ...tls(), tokenFile } })).toThrow(
      /only its owner may read.*chmod 600/,
    );
    await expect(serve({ more: ['--token-file', tokenFile] })).rejects.toThrow('token_file_open');
    expect((await stat(host.tokenFile)).mode & 0o777).toBe(0o600);
  });

  it('does not serve unencrypted to other machines', async () => {
    await expect(serve({ more: ['--host', '0.0.0.0'] })).rejects.toThrow('no_tls');
    expect(() => localBackend({ remote: { url: 'http://gpu.example', token: 'x'.repeat(64) } })).toThrow(
      /an https URL, because the token/,
    );
  });

  it('keeps requests inside its state folder', async () => {
    const token = (await readFile(host.tokenFile, 'utf8')).trim();
    const outside = join(await freshFolder(), 'x');
    const running = await start(tls());
    const { fetch: send } = await running.endpoint('base');
    for (const path of [outside, '../x', 'models/../../x', '.']) {
      const response = await (send ?? fetch)(`${tls().url}/v1/load_lora_adapter`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ lora_name: 'tiny@1', lora_path: path }),
      });
      expect(await response.json()).toMatchObject({ error: { code: 'folder_outside_state' } });
    }
  });
});

describe('what travels', () => {
  it('gives a fresh host what it needs, over a line that is cut again and again, and moves nothing twice', async () => {
    const own = await freshFolder();
    const old = await serve();
    const before = await start(plain(old), { folder: own });
    const first = await train(before, job(1, null));
    expect(await before.adapters()).toEqual([first]);
    await before.close();
    await old.kill();

    const files = await readdir(first.location);
    const sizes = await Promise.all(files.map(async (name) => (await stat(join(first.location, name))).size));
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    const fresh = await serve();
    const shares = [0.1, 0.3, 0.2].map((share) => Math.round(share * bytes));
    const line = await relay(fresh.port, { sent: shares, received: shares });
    const running = await start(plain(fresh, line.port), { folder: own });
    await running.publish(first);
    expect(line.sent()).toBeGreaterThan(bytes);
    expect(line.sent()).toBeLessThan(1.5 * bytes);
    const second = await train(running, job(2, first));
    expect(line.received()).toBeGreaterThan(bytes);
    expect(line.received()).toBeLessThan(1.5 * bytes);
    await running.publish(second);
    expect((await ask(running, second)).length).toBeGreaterThan(0);
    expect(await running.adapters()).toEqual([first, second]);
    expect(await readdir(join(fresh.folder, 'state', 'uploads'))).toEqual([]);
    line.close();
  });

  it('refuses to send what is not whole, and goes on serving', async () => {
    const running = await start(plain(await serve()));
    const first = await train(running, job(1, null));
    await running.publish(first);
    const second = await train(running, job(2, first));
    const weights = join(second.location, 'adapter_model.safetensors');
    const content = await readFile(weights);
    content.writeUInt8(content.readUInt8(content.length - 1) ^ 1, content.length - 1);
    await writeFile(weights, content);
    const other = await start(plain(await serve()), { folder: join(second.location, '../../../..') });
    await expect(other.publish(second)).rejects.toThrow(AdapterRefusedError);
    expect((await ask(running, first)).length).toBeGreaterThan(0);
  });
});

describe('a job in flight', () => {
  it('is found again by its id after a cut: told on, not trained twice', async () => {
    const host = await serve();
    const line = await relay(host.port);
    const running = await start(plain(host, line.port));
    const told: number[] = [];
    let cut = false;
    await train(running, job(1, null, 60), (event) => {
      if (event.type !== 'gradient-step') return;
      told.push(event.index);
      if (event.index >= 3 && !cut) {
        cut = true;
        line.cut();
      }
    });
    expect(told).toEqual(Array.from({ length: 60 }, (_, at) => at + 1));
    line.close();
  });

  it('is trained once more where the host was killed under it, and what was served is served again', async () => {
    const host = await serve();
    const running = await start(plain(host));
    const first = await train(running, job(1, null));
    await running.publish(first);
    const answer = await ask(running, first);
    let again: Promise<ServingHost> | undefined;
    const second = await train(running, job(2, first, 60), async (event) => {
      if (event.type !== 'gradient-step' || event.index !== 3 || again !== undefined) return;
      await host.kill();
      again = serve({ folder: host.folder, port: host.port });
    });
    await again;
    expect(second.step).toBe(2);
    expect(await running.adapters()).toEqual([first, second]);
    // Its endpoint was handed out before the restart: the call finds its policy all the same.
    expect(await ask(running, first)).toEqual(answer);
    await running.publish(second);
    expect((await ask(running, second)).length).toBeGreaterThan(0);
    expect(await readdir(join(host.folder, 'state', 'models', 'tiny', 'adapters'))).toEqual(['0001', '0002']);
  });
});
