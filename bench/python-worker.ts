/** A Python program that answers one line of JSON with another, in a process of its own. */
import { createInterface } from 'node:readline';
import { execa } from 'execa';

export interface Program {
  readonly python: string;
  readonly script: string;
  /** For PYTHONPATH. */
  readonly path: string;
}

export interface PythonWorker {
  /** Sends one line and gives what the program answers. Throws with the end of its error output when it has ended. */
  ask(question: unknown): Promise<unknown>;
  close(): Promise<void>;
}

/** What begins a line that is an answer; everything else that the program prints is noise. */
const mark = '@result ';

/** Starts the program and waits until it says that it is ready. */
export async function startPython(
  program: Program,
  given: readonly string[],
  threads: number,
): Promise<PythonWorker> {
  const child = execa(program.python, [program.script, ...given], {
    env: {
      PYTHONPATH: program.path,
      OMP_NUM_THREADS: String(threads),
      // Without it all sides lose half of their time to threads that spin for each other.
      OMP_WAIT_POLICY: 'PASSIVE',
      // As the sidecar is started.
      THP_MEM_ALLOC_ENABLE: '1',
      HF_HUB_OFFLINE: '1',
      TOKENIZERS_PARALLELISM: 'false',
    },
    stdin: 'pipe',
    reject: false,
    buffer: false,
  });
  const tail: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => {
    tail.push(line);
    if (tail.length > 30) tail.shift();
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    for (;;) {
      const line = await lines.next();
      if (line.done === true) throw new Error(`${program.script} ended:\n${tail.join('\n')}`);
      if (line.value.startsWith(mark)) return JSON.parse(line.value.slice(mark.length));
    }
  };
  await next();
  return {
    async ask(question) {
      child.stdin.write(`${JSON.stringify(question)}\n`);
      return next();
    },
    async close() {
      child.stdin.end();
      await child;
    },
  };
}
