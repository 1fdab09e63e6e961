/** The line to a sidecar on another host: checked when it is made, made anew when it is cut or the host was restarted. */
import {
  AbortedError,
  ApprenticeError,
  BackendUnavailableError,
  InvalidOptionError,
  SidecarError,
} from '../../../errors.ts';
import { policyId } from '../../../trajectory/ids.ts';
import { SidecarClient, type Health } from '../client.ts';
import type { AdapterTransfer, Sidecar, SidecarHost } from '../host.ts';
import { PublishedAdapters } from '../published.ts';
import { orAborted } from '../wait.ts';
import type { RemoteAddress } from './options.ts';
import { connectionFault, fetchTrusting } from './trust.ts';

export interface RemoteHostOptions {
  readonly address: RemoteAddress;
  readonly baseModel: string;
  /** How long a host may be away before it is given up. */
  readonly timeoutMs: number;
  readonly transfer: AdapterTransfer;
  /** Digest of the base model that the adapters of this project were trained on, where there are any. */
  readonly baseDigest: string | undefined;
  readonly onProgress: (message: string) => void;
}

const healthTimeoutMs = 15_000;
const firstPauseMs = 200;
const longestPauseMs = 5000;
/** For this long after a host was given up, who asks is told so at once. */
const givenUpMs = 10_000;

export class RemoteHost implements SidecarHost {
  readonly published = new PublishedAdapters();
  readonly #options: RemoteHostOptions;
  readonly #closing = new AbortController();
  #fetch: typeof fetch | undefined;
  #current: Promise<Sidecar> | undefined;
  /** Counts connections, so that what an older one complains of does not end the one of now. */
  #connections = 0;

  constructor(options: RemoteHostOptions) {
    this.#options = options;
  }

  async process(signal?: AbortSignal): Promise<Sidecar> {
    if (this.#closing.signal.aborted) {
      throw new BackendUnavailableError('The backend is closed.', {
        fix: 'Start it again.',
        retryable: false,
      });
    }
    return orAborted((this.#current ??= this.#keep(this.#connect())), signal);
  }

  /** What runs on the host goes on: it may have other owners, and a job is found again by its id. */
  close(): Promise<void> {
    this.#closing.abort();
    return Promise.resolve();
  }

  #keep(connection: Promise<Sidecar>): Promise<Sidecar> {
    connection.catch(() => {
      // Told to whoever asks now and in the next seconds; then one more try is made.
      setTimeout(() => {
        if (this.#current === connection) this.#current = undefined;
      }, givenUpMs).unref();
    });
    return connection;
  }

  /** The line is cut: whoever asks next waits until it is made again. */
  #lose(connection: number): void {
    if (connection === this.#connections) this.#current = undefined;
  }

  async #connect(): Promise<Sidecar> {
    const { address, timeoutMs, onProgress } = this.#options;
    const until = performance.now() + timeoutMs;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      try {
        return await this.#attempt();
      } catch (error) {
        if (this.#closing.signal.aborted) throw new AbortedError('The connection to the sidecar', error);
        const known = explain(address.url, error);
        if (!known.retryable || performance.now() + pauseMs > until) throw known;
        onProgress(`Waiting for ${address.url}: ${known.message}`);
        await pause(pauseMs, this.#closing.signal);
      }
    }
  }

  async #attempt(): Promise<Sidecar> {
    const { address, baseModel, baseDigest } = this.#options;
    const send = (this.#fetch ??= await fetchTrusting(address.ca));
    // Until it is made, its failures are reported by what awaits it.
    const connection = { number: -1 };
    const lose = (): void => {
      this.#lose(connection.number);
    };
    const client = new SidecarClient({
      baseUrl: address.url,
      token: address.token,
      fetch: send,
      onUnreachable: lose,
    });
    const health = await client.health(
      AbortSignal.any([this.#closing.signal, AbortSignal.timeout(healthTimeoutMs)]),
    );
    checkBaseModel(address.url, health, baseModel, baseDigest);
    const sidecar: Sidecar = {
      client,
      health,
      baseUrl: address.url,
      token: address.token,
      fetch: this.#modelFetch(send, client, lose),
    };
    await this.#publishMissing(sidecar, health.models);
    connection.number = this.#connections += 1;
    return sidecar;
  }

  /** Puts into service again what a restarted host, or another owner, has taken out of it. */
  async #publishMissing(sidecar: Sidecar, served: readonly string[]): Promise<void> {
    for (const adapter of this.published) {
      if (served.includes(policyId(adapter))) continue;
      const { name, step, folder } = adapter;
      const given = await this.#options.transfer.give(sidecar, folder, this.#closing.signal);
      await sidecar.client.publish(name, step, given);
    }
  }

  /** Model calls: one that a host no longer knows the policy of is sent again once it knows it. */
  #modelFetch(send: typeof fetch, client: SidecarClient, lose: () => void): typeof fetch {
    return async (input, init) => {
      let response: Response;
      try {
        response = await send(input, init);
      } catch (error) {
        if (init?.signal?.aborted !== true) lose();
        throw error;
      }
      if (response.status !== 404) return response;
      try {
        const sidecar = await this.process(init?.signal ?? undefined);
        const { models } = await client.health(AbortSignal.timeout(healthTimeoutMs));
        await this.#publishMissing(sidecar, models);
      } catch {
        return response; // the refusal itself says more to the caller
      }
      return send(input, init);
    };
  }
}

function checkBaseModel(
  url: string,
  health: Health,
  baseModel: string,
  baseDigest: string | undefined,
): void {
  const refuse = (expected: string, fix: string): InvalidOptionError =>
    new InvalidOptionError({ field: 'baseModel', received: baseModel, expected, fix });
  if (health.base_model !== baseModel) {
    throw refuse(
      `${JSON.stringify(health.base_model)}, which the sidecar at ${url} serves`,
      'Give that one, or start the host with --model, or with --model-name where only the name differs.',
    );
  }
  if (baseDigest !== undefined && baseDigest !== health.base_digest) {
    throw refuse(
      `the one that the adapters of this project were trained on (${baseDigest}); ${url} has other weights (${health.base_digest})`,
      'Start the host with the very same weights, or use another `name` for adapters on these.',
    );
  }
}

function explain(url: string, error: unknown): ApprenticeError {
  if (error instanceof SidecarError) {
    if (error.sidecarCode === 'unauthorized') {
      return new BackendUnavailableError(`The sidecar at ${url} refuses the token.`, {
        fix: 'Copy the token anew from the file that the host was started with.',
        retryable: false,
        cause: error,
      });
    }
    const { code, untrusted } = connectionFault(error);
    if (untrusted) {
      return new BackendUnavailableError(`The certificate of ${url} is not trusted (${code}).`, {
        fix: 'Give the certificate that vouches for it as `remote.caFile`, and a URL with a name that it is made for.',
        retryable: false,
        cause: error,
      });
    }
    if (!error.retryable) return error;
    return new BackendUnavailableError(`The sidecar at ${url} does not answer (${code}).`, {
      fix: 'Is it started, and does a firewall let this machine through?',
      cause: error,
    });
  }
  if (error instanceof ApprenticeError) return error;
  return new BackendUnavailableError(
    `What answers at ${url} is no sidecar of this version: ${String(error)}.`,
    {
      fix: 'Check the URL, and install the same version of `apprentice` on both machines.',
      retryable: false,
      cause: error,
    },
  );
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
