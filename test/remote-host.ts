/** `apprentice-sidecar serve` as a real process on loopback with a folder of its own, and a line to it that can be cut. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { ensureEnvironment, tinyModelFolder } from '../src/backends/local/index.ts';
import { freshFolder } from './recording.ts';

const source = fileURLToPath(new URL('../python-sidecar/src', import.meta.url));

const line = z.looseObject({ event: z.string(), port: z.int().optional(), code: z.string().optional() });

export interface ServeOptions {
  /** Default: a fresh one. */
  readonly folder?: string;
  readonly port?: number;
  readonly model?: string;
  /** Further arguments of `serve`. */
  readonly more?: readonly string[];
}

export interface ServingHost {
  readonly port: number;
  readonly folder: string;
  readonly tokenFile: string;
  readonly pid: number;
  /** `kill -9`; resolves when it is gone. */
  readonly kill: () => Promise<void>;
}

const running = new Set<ChildProcess>();

/** Starts a host and waits until it is ready. Rejects with the code that it failed with. */
export async function serve(options: ServeOptions = {}): Promise<ServingHost> {
  const { python } = await ensureEnvironment({ dev: true });
  const folder = options.folder ?? (await freshFolder());
  const tokenFile = join(folder, 'token');
  const given = [
    ...['--model', options.model ?? tinyModelFolder(), '--threads', '1'],
    ...['--state', join(folder, 'state'), '--token-file', tokenFile],
    ...['--port', String(options.port ?? 0)],
  ];
  const child = spawn(python, ['-m', 'apprentice_sidecar', 'serve', ...given, ...(options.more ?? [])], {
    env: { ...process.env, PYTHONPATH: source },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  running.add(child);
  for await (const text of createInterface({ input: child.stdout })) {
    const said = line.parse(JSON.parse(text));
    if (said.event === 'failed') throw new Error(String(said.code));
    if (said.event !== 'ready' || said.port === undefined || child.pid === undefined) continue;
    const kill = async (): Promise<void> => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
      running.delete(child);
    };
    return { port: said.port, folder, tokenFile, pid: child.pid, kill };
  }
  throw new Error('The host ended without a word.');
}

/** Ends all hosts of this file. */
export async function endHosts(): Promise<void> {
  const ends = [...running].map(async (child) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  });
  await Promise.all(ends);
  running.clear();
}

export interface Relay {
  readonly port: number;
  /** Bytes that clients have sent through it, and received. */
  readonly sent: () => number;
  readonly received: () => number;
  /** Cuts every connection, now. */
  readonly cut: () => void;
  readonly close: () => void;
}

/** A line to `port` that breaks when so many bytes went one way on one connection: once for each entry. */
export async function relay(
  port: number,
  cuts: { readonly sent?: readonly number[]; readonly received?: readonly number[] } = {},
): Promise<Relay> {
  const open = new Set<Socket>();
  const total = { sent: 0, received: 0 };
  const left = { sent: [...(cuts.sent ?? [])], received: [...(cuts.received ?? [])] };
  const server = createServer((client) => {
    const host = connect(port, '127.0.0.1');
    const both = [client, host];
    const onThis = { sent: 0, received: 0 };
    const count = (way: 'sent' | 'received', bytes: number): void => {
      total[way] += bytes;
      onThis[way] += bytes;
      const bound = left[way][0];
      if (bound === undefined || onThis[way] <= bound) return;
      left[way].shift();
      for (const socket of both) socket.destroy();
    };
    for (const socket of both) {
      open.add(socket);
      socket.on('error', () => undefined); // the other side is told by its end
      socket.on('close', () => {
        open.delete(socket);
        for (const one of both) one.destroy();
      });
    }
    client.on('data', (piece) => {
      count('sent', piece.length);
    });
    host.on('data', (piece) => {
      count('received', piece.length);
    });
    client.pipe(host);
    host.pipe(client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = z.object({ port: z.int() }).parse(server.address());
  const cut = (): void => {
    for (const socket of open) socket.destroy();
  };
  return {
    port: address.port,
    sent: () => total.sent,
    received: () => total.received,
    cut,
    close: () => {
      cut();
      server.close();
    },
  };
}
