/** Tests as a reward: a command in a child process of its own, in a folder of its own, with limits. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { execa } from 'execa';
import { InvalidOptionError } from '../../errors.ts';
import { codeReward, type CodeResult } from '../code-reward.ts';
import type { RewardFunction, RewardInput, Scenario } from '../reward.ts';

export interface CommandOutput {
  /** undefined where a signal ended it. */
  readonly exitCode: number | undefined;
  readonly timedOut: boolean;
  /** At most 1 MB of each. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandRewardOptions<S extends Scenario, R> {
  readonly name?: string;
  /** The program and its arguments; no shell is involved. */
  readonly command: readonly [program: string, ...parameters: string[]];
  /** Files to write into the child's folder before it starts, by relative path: what the agent made, and its tests. */
  readonly files?: (input: RewardInput<S, R>) => Readonly<Record<string, string>>;
  /** Written to its standard input. */
  readonly input?: (input: RewardInput<S, R>) => string;
  /** Default: 1 for exit code 0, else 0. */
  readonly score?: (output: CommandOutput) => CodeResult;
  /** Milliseconds, after which it is killed with all that it started and scores 0 (or what `score` says). Default: 30 000. */
  readonly timeoutMs?: number;
  /** Memory of the child in MiB; POSIX only. Default: 2048. */
  readonly memoryMb?: number;
  /** The child sees PATH, a HOME of its own, and these. Nothing else of this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
}

const posix = process.platform !== 'win32';

/**
 * Runs a command and makes its exit code a reward. The child has a fresh folder, which is removed afterwards, a process
 * group of its own, and limits on time, memory and output. That keeps accidents in; it is no wall against hostile code:
 * for that, let the command start a container.
 */
export function commandReward<S extends Scenario = never, R = never>(
  options: CommandRewardOptions<S, R>,
): RewardFunction<S, R> {
  const { name = 'command', score = passed, timeoutMs = 30_000 } = options;
  return codeReward(
    name,
    async (input) => {
      const folder = await mkdtemp(join(tmpdir(), 'apprentice-command-'));
      try {
        for (const [path, text] of Object.entries(options.files?.(input) ?? {}))
          await writeInside(folder, path, text);
        return score(await run(options, folder, input, timeoutMs));
      } finally {
        await rm(folder, { recursive: true, force: true, maxRetries: 3 });
      }
    },
    // The child's own limit comes first; this one is for a disk that hangs.
    { timeoutMs: timeoutMs + 10_000 },
  );
}

function passed({ exitCode, timedOut, stdout, stderr }: CommandOutput): CodeResult {
  if (exitCode === 0) return 1;
  const how = timedOut ? 'timed out' : `exit code ${String(exitCode)}`;
  return { value: 0, explanation: `${how}: ${(stderr || stdout).slice(-500)}` };
}

async function run<S extends Scenario, R>(
  options: CommandRewardOptions<S, R>,
  folder: string,
  input: RewardInput<S, R>,
  timeoutMs: number,
): Promise<CommandOutput> {
  const [program, ...parameters] = limited(options.command, options.memoryMb ?? 2048);
  const child = execa(program, parameters, {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', HOME: folder, ...options.env },
    extendEnv: false,
    input: options.input?.(input) ?? '',
    reject: false,
    maxBuffer: 1_000_000,
    // A group of its own, so that what it starts can be ended with it.
    detached: posix,
  });
  // An object, because the timer changes it while the child is waited for.
  const state = { timedOut: false };
  const end = (): void => {
    killGroup(child.pid);
  };
  const timer = setTimeout(() => {
    state.timedOut = true;
    end();
  }, timeoutMs);
  input.signal.addEventListener('abort', end, { once: true });
  try {
    const result = await child;
    const { timedOut } = state;
    // A program that is not there says nothing about the agent: no 0.
    if (!timedOut && (child.pid === undefined || result.exitCode === 126 || result.exitCode === 127)) {
      throw new InvalidOptionError({
        field: 'command',
        received: options.command,
        expected: 'a program that can be started',
        fix: `Check its name and the PATH. ${result.stderr.slice(-300)}`.trim(),
        cause: result,
      });
    }
    return { exitCode: result.exitCode, timedOut, stdout: result.stdout, stderr: result.stderr };
  } finally {
    clearTimeout(timer);
    input.signal.removeEventListener('abort', end);
    end();
  }
}

/** `ulimit` belongs to the shell, which then becomes the program. */
function limited(command: readonly [string, ...string[]], memoryMb: number): readonly [string, ...string[]] {
  if (!posix) return command;
  const kilobytes = String(memoryMb * 1024);
  return ['/bin/sh', '-c', `ulimit -v ${kilobytes} 2>/dev/null; exec "$@"`, 'sh', ...command];
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(posix ? -pid : pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

async function writeInside(folder: string, path: string, text: string): Promise<void> {
  const inside = normalize(path);
  if (isAbsolute(inside) || inside.startsWith('..')) {
    throw new InvalidOptionError({
      field: 'files',
      received: path,
      expected: 'a path inside the folder of the command',
      fix: 'Use relative paths without "..".',
    });
  }
  const target = join(folder, inside);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, text);
}
