/** Finds out about this machine. Never throws: what cannot be found out is a fact, too. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { availableParallelism, totalmem } from 'node:os';
import { delimiter, join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { cacheFolder } from '../locations.ts';
import type { Gpu, MachineFacts } from './facts.ts';

const query = ['index', 'name', 'memory.total', 'memory.free', 'compute_cap', 'driver_version'];
const mebibyte = 1024 * 1024;
/** nvidia-smi hangs where the driver is broken. */
const probeTimeoutMs = 10_000;

/** What `python-sidecar/gpu-check` leaves in the cache folder. */
export const gpuCheckFile = 'gpu-check.json';
const gpuCheck = z.looseObject({ unsloth: z.looseObject({ parity: z.boolean() }).nullish() });

export async function probeMachine(): Promise<MachineFacts> {
  const [gpus, verified, libnuma] = await Promise.all([
    probeGpus(),
    unslothVerified(),
    hasLibrary('libnuma.so.1'),
  ]);
  const glibc = glibcVersion();
  return {
    platform: process.platform,
    architecture: process.arch,
    ...(glibc === undefined ? {} : { glibc }),
    libnuma,
    memoryBytes: totalmem(),
    cores: availableParallelism(),
    unslothVerified: verified,
    ...gpus,
  };
}

async function probeGpus(): Promise<Pick<MachineFacts, 'gpus' | 'driver' | 'gpuProblem'>> {
  const result = await execa(
    'nvidia-smi',
    [`--query-gpu=${query.join(',')}`, '--format=csv,noheader,nounits'],
    {
      reject: false,
      timeout: probeTimeoutMs,
    },
  );
  if (result.failed) {
    const missing = result.code === 'ENOENT';
    const said = typeof result.stdout === 'string' ? result.stdout.trim() : '';
    const gpuProblem = missing
      ? 'no NVIDIA driver is installed (nvidia-smi was not found)'
      : `nvidia-smi failed: ${said === '' ? (result.shortMessage ?? 'without a word') : said}`;
    return { gpus: [], gpuProblem };
  }
  return parseGpus(result.stdout);
}

/** The answer of `nvidia-smi --query-gpu=… --format=csv,noheader,nounits`, a line a GPU. */
export function parseGpus(text: string): Pick<MachineFacts, 'gpus' | 'driver' | 'gpuProblem'> {
  const gpus: Gpu[] = [];
  let driver: string | undefined;
  for (const line of text.split('\n').filter((one) => one.trim() !== '')) {
    const [index, name, total, free, capability, version] = line.split(',').map((part) => part.trim());
    const numbers = [index, total, free, capability].map(Number);
    if (name === undefined || version === undefined || numbers.some(Number.isNaN)) {
      return { gpus: [], gpuProblem: `nvidia-smi answered what cannot be read: ${line}` };
    }
    driver = version;
    gpus.push({
      index: numbers[0] ?? 0,
      name,
      memoryBytes: (numbers[1] ?? 0) * mebibyte,
      freeBytes: (numbers[2] ?? 0) * mebibyte,
      computeCapability: numbers[3] ?? 0,
    });
  }
  if (driver === undefined) return { gpus, gpuProblem: 'nvidia-smi lists no GPU' };
  return { gpus, driver };
}

function glibcVersion(): string | undefined {
  const report = z
    .looseObject({ header: z.looseObject({ glibcVersionRuntime: z.string().optional() }) })
    .safeParse(process.report.getReport());
  return report.success ? report.data.header.glibcVersionRuntime : undefined;
}

/** Looks where the loader looks: its cache, which ldconfig lists, and the folders that the user names. */
async function hasLibrary(file: string): Promise<boolean> {
  if (process.platform !== 'linux') return false;
  const named = (process.env['LD_LIBRARY_PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  if (named.some((folder) => existsSync(join(folder, file)))) return true;
  // It is no command of everybody's: the folders of the system's own are often left out.
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  const { stdout } = await execa('ldconfig', ['-p'], { reject: false, env: { PATH: path } });
  return typeof stdout === 'string' && stdout.includes(`${file} `);
}

async function unslothVerified(): Promise<boolean> {
  try {
    const found = gpuCheck.safeParse(
      JSON.parse(await readFile(join(cacheFolder(), gpuCheckFile), 'utf8')) as unknown,
    );
    return found.success && found.data.unsloth?.parity === true;
  } catch {
    return false; // never run here
  }
}
