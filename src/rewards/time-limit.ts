import { AbortedError, RewardTimeoutError } from '../errors.ts';

/**
 * Runs `work` with a signal that ends with the time limit or with `signal`, and waits no longer than that, also for work
 * that ignores it. Throws RewardTimeoutError, AbortedError, and what `work` throws.
 */
export async function withTimeLimit<T>(
  options: { readonly name: string; readonly timeoutMs: number; readonly signal: AbortSignal },
  work: (signal: AbortSignal) => T | PromiseLike<T>,
): Promise<T> {
  const { name, timeoutMs, signal } = options;
  if (signal.aborted) throw new AbortedError(`Reward "${name}"`, signal.reason);
  const stop = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const ended = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new RewardTimeoutError(name, timeoutMs));
    }, timeoutMs);
    onAbort = () => {
      reject(new AbortedError(`Reward "${name}"`, signal.reason));
    };
    signal.addEventListener('abort', onAbort, { once: true });
  });
  const running = (async () => work(AbortSignal.any([signal, stop.signal])))();
  // Once nobody waits for it any more, its failure is nobody's.
  running.catch(() => undefined);
  try {
    return await Promise.race([running, ended]);
  } catch (error) {
    stop.abort(error);
    throw error;
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) signal.removeEventListener('abort', onAbort);
  }
}
