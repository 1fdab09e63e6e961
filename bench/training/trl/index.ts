/**
 * `npm run bench:trl [-- --cases a,b,c --repeats 5 --trl-threads 2 --file FILE]`, or with `--learning`: GRPO steps of the
 * sidecar and of TRL on the same models, prompts, group size and lengths, in turns on this machine; one JSON. A step
 * generates the rollouts, computes the loss and updates the adapter; ours also writes the adapter to disk, verifies it
 * and serves it.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { execa } from 'execa';
import { ensureEnvironment } from '../../../src/backends/local/install.ts';
import { sidecarFolder, tinyModelFolder } from '../../../src/backends/local/locations.ts';
import { smollm2Folder } from '../../models.ts';
import { round } from '../../statistics.ts';
import { ensureTrl } from './environment.ts';
import { compareLearning } from './learning.ts';
import { measureSpeed } from './speed.ts';
import { cases, type CaseName } from './cases.ts';
import type { Programs } from './worker.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: 'a,b,c' },
    repeats: { type: 'string', default: '5' },
    learning: { type: 'boolean', default: false },
    seeds: { type: 'string', default: '1,2,3' },
    steps: { type: 'string', default: '10' },
    'trl-threads': { type: 'string' },
    file: { type: 'string' },
  },
});
const names = values.cases.split(',').filter((name) => name !== '') as CaseName[];
for (const name of names) if (!(name in cases)) throw new RangeError(`There is no case ${name}.`);

const ours = await ensureEnvironment({ onProgress: say });
const theirs = await ensureTrl(ours.python, say);
const folder = await mkdtemp(join(tmpdir(), 'apprentice-bench-trl-'));
try {
  const programs: Programs = {
    ours: { python: ours.python, script: join(here, 'ours.py'), path: join(sidecarFolder(), 'src') },
    theirs: { python: theirs, script: join(here, 'theirs.py'), path: '' },
  };
  const written = async (name: string, source: object): Promise<string> => {
    const target = join(folder, name);
    say(`Writing the model of ${name}`);
    await execa(ours.python, [join(here, 'model.py'), target, JSON.stringify(source)]);
    return target;
  };
  const modelOf = async (name: CaseName): Promise<string> => {
    const { model } = cases[name];
    return written(
      `case ${name}`,
      'package' in model ? { weights: await smollm2Folder(ours.python, say) } : model,
    );
  };
  const speed = [];
  for (const name of values.learning ? [] : names)
    speed.push(
      await measureSpeed({
        name,
        model: await modelOf(name),
        programs,
        repeats: Number(values.repeats),
        trlThreads: values['trl-threads'] === undefined ? undefined : Number(values['trl-threads']),
        say,
      }),
    );
  const learning = values.learning
    ? await compareLearning({
        model: await written('learning', { weights: tinyModelFolder() }),
        programs,
        seeds: values.seeds.split(',').map(Number),
        steps: Number(values.steps),
        say,
      })
    : undefined;
  const result = { cores: availableParallelism(), trl: '1.13.0', speed, learning };
  const text = `${JSON.stringify(result, (_, value: unknown) => (typeof value === 'number' ? round(value) : value), 2)}\n`;
  if (values.file !== undefined) await writeFile(values.file, text);
  process.stdout.write(text);
} finally {
  await rm(folder, { recursive: true, force: true });
}
