/** `npm run bench:capture [-- FILE]`: what recording costs and whether it keeps its promises; one JSON. */
import { writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { fileArgument } from '../file-argument.ts';
import { benchBurst } from './burst.ts';
import { benchBytes } from './bytes.ts';
import { benchDiskFull } from './disk-full.ts';
import { benchOverhead } from './overhead.ts';
import { benchStore } from './store.ts';

const file = fileArgument();

const progress = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

const overhead = await benchOverhead(5, progress);
progress('bytes of a run of 20 calls');
const bytes = await benchBytes(20, 200);
progress('a burst of 1,500 runs');
const burst = await benchBurst(1500);
const store = await benchStore(40_000, 5, progress);
progress('a full disk');
const diskFull = await benchDiskFull(12_000, 8192);

const result = {
  node: process.version,
  cores: availableParallelism(),
  overheadMicroseconds: overhead,
  bytes,
  burst,
  store,
  diskFull,
};
const text = `${JSON.stringify(result, null, 2)}\n`;
if (file !== undefined) await writeFile(file, text);
process.stdout.write(text);
