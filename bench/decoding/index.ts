/**
 * `npm run bench:decoding [-- --models tiny,smollm2 --streams 1,8,16,32 --repeats 5 --vllm-python PATH --file FILE]`:
 * sampled tokens a second of the sidecar's engine beside transformers' `generate` and `generate_batch` on the same
 * prompts and lengths, in turns on this machine; of our server and, where there is one, vLLM's over HTTP. One JSON.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ensureEnvironment, tinyModelFolder } from '../../src/backends/local/index.ts';
import { sidecarFolder } from '../../src/backends/local/locations.ts';
import { smollm2Folder } from '../models.ts';
import { round } from '../statistics.ts';
import { ensureTrl } from '../training/trl/environment.ts';
import { startOurs, startVllm } from './http.ts';
import { measure } from './measure.ts';
import { startWorker, type Subject } from './subjects.ts';

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: 'tiny,smollm2' },
    streams: { type: 'string', default: '1,8,16,32' },
    repeats: { type: 'string', default: '5' },
    prompt: { type: 'string', default: '93' },
    new: { type: 'string', default: '64' },
    'vllm-python': { type: 'string' },
    file: { type: 'string' },
  },
});

const ours = await ensureEnvironment({ onProgress: say });
// TRL's environment holds the transformers that its figures are made with.
const theirs = await ensureTrl(ours.python, say);
const script = fileURLToPath(new URL('worker.py', import.meta.url));
const threads = availableParallelism();
const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-decoding-'));

const models = new Map([
  ['tiny', () => Promise.resolve(tinyModelFolder())],
  ['smollm2', () => smollm2Folder(ours.python, say)],
]);

async function startAll(name: string, model: string): Promise<Subject[]> {
  const rival = { python: theirs, script, path: '' };
  const own = { python: ours.python, script, path: join(sidecarFolder(), 'src') };
  const vllm = values['vllm-python'];
  return [
    await startWorker('apprentice', own, model, threads),
    await startWorker('generate', rival, model, threads),
    await startWorker('generate_batch', rival, model, threads),
    await startOurs(model, join(folder, name), say),
    ...(vllm === undefined ? [] : [await startVllm(vllm, model)]),
  ];
}

try {
  const found = [];
  for (const name of values.models.split(',')) {
    const model = await models.get(name)?.();
    if (model === undefined)
      throw new RangeError(`There is no model ${name}; there are ${[...models.keys()].join(', ')}.`);
    say(`Starting all on ${name}`);
    const subjects = await startAll(name, model);
    try {
      for (const streams of values.streams.split(',').map(Number)) {
        const lengths = { prompt: Number(values.prompt), new: Number(values.new) };
        const measured = await measure({
          subjects,
          streams,
          ...lengths,
          repeats: Number(values.repeats),
          say,
        });
        found.push({ model: name, ...lengths, ...measured });
      }
    } finally {
      await Promise.all(subjects.map((subject) => subject.close()));
    }
  }
  const result = { cores: threads, processor: cpus()[0]?.model, repeats: Number(values.repeats), found };
  const text = `${JSON.stringify(result, (_, value: unknown) => (typeof value === 'number' ? round(value) : value), 2)}\n`;
  if (values.file !== undefined) await writeFile(values.file, text);
  process.stdout.write(text);
} finally {
  await rm(folder, { recursive: true, force: true });
}
