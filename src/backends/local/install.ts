/**
 * The sidecar's Python environment: a venv of our own in a cache folder, from pinned requirements, by pip with the
 * user's own configuration. Keyed by the requirements, so that a second project starts at once.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { AbortedError, EnvironmentError } from '../../errors.ts';
import { cacheFolder, sidecarFolder } from './locations.ts';
import { probeMachine } from './machine/probe.ts';
import { cpuServingProblems } from './machine/serving.ts';

/** The pinned sets of packages, one file each in `python-sidecar/requirements`. */
export type RequirementSet = 'cpu' | 'torchtune' | 'cuda-train' | 'cuda-serve' | 'vllm-cpu';

export interface EnvironmentOptions {
  /** Which packages. Default: 'cpu', which serves and trains with transformers on every machine. */
  readonly set?: RequirementSet;
  /** The interpreter to build on, 3.10 or newer. Default: the first of python3, python that fits. */
  readonly python?: string;
  /** Default: `APPRENTICE_CACHE`, or `apprentice` in the user's cache folder. */
  readonly cacheFolder?: string;
  /** Also installs what the sidecar's own tests need. Default: false. */
  readonly dev?: boolean;
  readonly onProgress?: (message: string) => void;
  readonly signal?: AbortSignal;
}

export interface Environment {
  /** The interpreter of the venv. */
  readonly python: string;
  readonly folder: string;
  /** Whether anything had to be installed. */
  readonly installed: boolean;
  readonly seconds: number;
}

const marker = 'complete.json';

/** What a set holds beside torch. */
const contents: Readonly<Record<RequirementSet, string>> = {
  cpu: 'transformers, peft and the server (about 60 MB)',
  torchtune: 'torchtune, transformers, peft and the server (about 170 MB)',
  'cuda-train': 'Unsloth, transformers, peft and the server (about 600 MB)',
  'cuda-serve': 'vLLM and its kernels (about 2 GB)',
  'vllm-cpu': 'vLLM for a CPU (about 400 MB)',
};

/** Lists that are complete: what their packages ask for beyond them is left out on purpose. */
const complete: ReadonlySet<RequirementSet> = new Set(['vllm-cpu']);

/** Makes sure that the environment is there. Resumes an installation that was interrupted. Throws EnvironmentError. */
export async function ensureEnvironment(options: EnvironmentOptions = {}): Promise<Environment> {
  const startedAt = performance.now();
  const { folder, python, files, interpreter, installed } = await locate(options);
  const seconds = (): number => (performance.now() - startedAt) / 1000;
  if (installed) return { python, folder, installed: false, seconds: seconds() };
  await checkMachine(options.set ?? 'cpu');

  await mkdir(folder, { recursive: true, mode: 0o700 });
  const unlock = await lock(`${folder}.lock`, options);
  try {
    // Somebody else may have finished it while we waited for the lock.
    if (existsSync(join(folder, marker))) return { python, folder, installed: false, seconds: seconds() };
    await install({ interpreter: interpreter.command, folder, python, files, options });
    await writeFile(join(folder, marker), JSON.stringify({ files, python: interpreter.version }));
  } finally {
    await unlock();
  }
  return { python, folder, installed: true, seconds: seconds() };
}

/** Whether the environment is there already, and where it is or would be. Installs nothing. Throws EnvironmentError. */
export async function findEnvironment(
  options: EnvironmentOptions = {},
): Promise<{ readonly folder: string; readonly python: string; readonly installed: boolean }> {
  const { folder, python, installed } = await locate(options);
  return { folder, python, installed };
}

interface Location {
  readonly folder: string;
  readonly python: string;
  readonly files: readonly string[];
  readonly interpreter: { readonly command: string; readonly version: string };
  readonly installed: boolean;
}

async function locate(options: EnvironmentOptions): Promise<Location> {
  const names = [`${options.set ?? 'cpu'}.txt`, ...(options.dev === true ? ['dev.txt'] : [])];
  const files = names.map((file) => join(sidecarFolder(), 'requirements', file));
  const interpreter = await findPython(options);
  const key = createHash('sha256').update(interpreter.version);
  for (const file of files) key.update(await readFile(file));
  const folder = join(options.cacheFolder ?? cacheFolder(), `venv-${key.digest('hex').slice(0, 16)}`);
  const python = join(folder, process.platform === 'win32' ? 'Scripts/python.exe' : 'bin/python');
  return { folder, python, files, interpreter, installed: existsSync(join(folder, marker)) };
}

/** Throws EnvironmentError where the packages could be installed and would not run. */
async function checkMachine(set: RequirementSet): Promise<void> {
  if (set !== 'vllm-cpu') return;
  const problems = cpuServingProblems(await probeMachine());
  if (problems.length === 0) return;
  throw new EnvironmentError(`vLLM cannot serve on the CPU of this machine: ${problems.join('; ')}.`, {
    fix: "Mend that, or serve with 'transformers'.",
  });
}

async function findPython(options: EnvironmentOptions): Promise<{ command: string; version: string }> {
  const candidates = options.python === undefined ? ['python3', 'python'] : [options.python];
  const tried: string[] = [];
  for (const command of candidates) {
    const result = await execa(command, ['-c', 'import platform; print(platform.python_version())'], {
      reject: false,
    });
    const version = typeof result.stdout === 'string' ? result.stdout.trim() : '';
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (!result.failed && (major > 3 || (major === 3 && minor >= 10))) return { command, version };
    tried.push(`${command} (${version === '' ? 'not found' : version})`);
  }
  throw new EnvironmentError(`No Python 3.10 or newer was found: ${tried.join(', ')}.`, {
    fix: 'Install Python, or name it with the option `python`. Recording goes on without it.',
  });
}

interface Installation {
  readonly interpreter: string;
  readonly folder: string;
  readonly python: string;
  readonly files: readonly string[];
  readonly options: EnvironmentOptions;
}

async function install({ interpreter, folder, python, files, options }: Installation): Promise<void> {
  const say = options.onProgress ?? (() => undefined);
  const torch = (await readFile(files[0] ?? '', 'utf8'))
    .split('\n')
    .find((line) => line.startsWith('torch=='));
  say(`Making a Python environment in ${folder}`);
  await run(interpreter, ['-m', 'venv', folder], options, say);
  const pip = ['-m', 'pip', 'install', '--disable-pip-version-check', '--progress-bar', 'off'];
  // Exactly pinned and alone: only so does pip take a CPU build where its configuration offers one.
  say(
    `Downloading ${torch ?? 'torch'} (about 200 MB as a CPU build, up to 3 GB where only the CUDA build can be had)`,
  );
  await run(python, [...pip, torch ?? 'torch'], options, say);
  const set = options.set ?? 'cpu';
  say(`Downloading ${contents[set]}`);
  for (const [index, file] of files.entries()) {
    const alone = index === 0 && complete.has(set) ? ['--no-deps'] : [];
    await run(python, [...pip, ...alone, '-r', file], options, say);
  }
}

async function run(
  command: string,
  given: readonly string[],
  options: EnvironmentOptions,
  say: (line: string) => void,
): Promise<void> {
  const child = execa(command, given, {
    all: true,
    reject: false,
    buffer: false,
    ...(options.signal === undefined ? {} : { cancelSignal: options.signal }),
  });
  const tail: string[] = [];
  for await (const line of child.iterable({ from: 'all' })) {
    const text = line;
    tail.push(text);
    if (tail.length > 20) tail.shift();
    if (/^(Collecting|Downloading|Installing) /.test(text)) say(text);
  }
  const result = await child;
  if (options.signal?.aborted === true) throw new AbortedError('The installation', options.signal.reason);
  if (result.failed) {
    throw new EnvironmentError(
      `"${command} ${given.slice(0, 3).join(' ')} …" failed:\n${tail.join('\n')}\n`,
      {
        fix: 'Mend what the last lines say (network, disk, a package index) and start again: it resumes.',
        retryable: true,
      },
    );
  }
}

/** Held by one installer at a time; a lock whose holder is gone is taken over. */
async function lock(path: string, options: EnvironmentOptions): Promise<() => Promise<void>> {
  for (;;) {
    try {
      const file = await open(path, 'wx', 0o600);
      await file.writeFile(String(process.pid));
      await file.close();
      return () => rm(path, { force: true });
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    if (!isAlive(Number(await readFile(path, 'utf8').catch(() => '')))) await rm(path, { force: true });
    options.onProgress?.('Waiting for another installation of the same environment');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    if (options.signal?.aborted === true) throw new AbortedError('The installation', options.signal.reason);
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
