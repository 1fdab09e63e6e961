/**
 * What API models charge. The table is that of @pydantic/genai-prices, which lists over a thousand models with their
 * cached-input prices and tiers, comes with the package (nothing is fetched) and is updated with it.
 */
import type * as genaiPrices from '@pydantic/genai-prices';
import type { Cost, Usage } from '../trajectory/records.ts';

/** US dollars for a million tokens. */
export interface ModelPrice {
  readonly input: number;
  readonly output: number;
  /** Input that the provider had in its cache. Default: as `input`. */
  readonly cachedInput?: number;
  /** Input that was written to the cache. Default: as `input`. */
  readonly cacheWrite?: number;
}

/** By model id, as it is asked for or as the provider answers. Goes before the table. */
export type ModelPrices = Readonly<Record<string, ModelPrice>>;

type Table = Pick<typeof genaiPrices, 'calcPrice'>;

const million = 1_000_000;
/** Names that are remembered; a process that calls more models than this begins anew. */
const mostKnown = 1000;

export class PriceBook {
  readonly #own: ReadonlyMap<string, ModelPrice>;
  #loading: Promise<void> | undefined;
  #table: Table | undefined;
  /**
   * By provider and model, what the table has on it: its provider with that model alone, or null for a name that it does
   * not know. Finding a name goes through the whole table, and which entry it is depends neither on usage nor on time.
   */
  readonly #known = new Map<string, genaiPrices.Provider | null>();

  constructor(own: ModelPrices = {}) {
    this.#own = new Map(Object.entries(own));
  }

  /** Loads the table, some 50 ms of work, once. Until then only the user's own prices are known. */
  load(): Promise<void> {
    this.#loading ??= import('@pydantic/genai-prices').then(
      (table) => {
        this.#table = table;
      },
      // Without the table, calls go without a price.
      () => undefined,
    );
    return this.#loading;
  }

  /** undefined where the model, or how many tokens it took, is not known. Never throws. */
  costOf(call: {
    /** Names to try, the most exact first. */
    readonly models: readonly string[];
    readonly provider?: string | undefined;
    readonly usage: Usage;
    /** When it was made, milliseconds since the epoch: prices change. */
    readonly at: number;
  }): Cost | undefined {
    const usage = counts(call.usage);
    if (usage === undefined) return undefined;
    for (const model of call.models) {
      const own = this.#own.get(model);
      if (own !== undefined) return { usd: ownCost(own, usage), source: 'user' };
    }
    for (const model of new Set(call.models)) {
      const usd = this.#fromTable(model, call.provider, usage, call.at);
      if (usd !== undefined) return { usd, source: 'price-table' };
    }
    return undefined;
  }

  #fromTable(model: string, provider: string | undefined, usage: Counts, at: number): number | undefined {
    // With the provider first: some models cost differently elsewhere.
    return (
      (provider === undefined ? undefined : this.#lookUp(model, provider, usage, at)) ??
      this.#lookUp(model, undefined, usage, at)
    );
  }

  #lookUp(model: string, providerId: string | undefined, usage: Counts, at: number): number | undefined {
    const table = this.#table;
    if (table === undefined) return undefined;
    const key = `${providerId ?? ''}\n${model}`;
    const known = this.#known.get(key);
    if (known === null) return undefined;
    try {
      const found = table.calcPrice(
        {
          input_tokens: usage.input,
          output_tokens: usage.output,
          cache_read_tokens: usage.cached,
          cache_write_tokens: usage.written,
        },
        model,
        {
          timestamp: new Date(at),
          ...(providerId === undefined ? {} : { providerId }),
          ...(known === undefined ? {} : { provider: known }),
        },
      );
      if (known === undefined)
        this.#remember(key, found === null ? null : { ...found.provider, models: [found.model] });
      return found !== null && Number.isFinite(found.total_price) ? found.total_price : undefined;
    } catch {
      // A usage that its rules refuse has no price.
      return undefined;
    }
  }

  #remember(key: string, entry: genaiPrices.Provider | null): void {
    if (this.#known.size >= mostKnown) this.#known.clear();
    this.#known.set(key, entry);
  }
}

interface Counts {
  /** All of it, the cached and the written included. */
  readonly input: number;
  readonly cached: number;
  readonly written: number;
  readonly output: number;
}

function counts(usage: Usage): Counts | undefined {
  const { inputTokens, outputTokens, cachedInputTokens: cached = 0, cacheWriteTokens: written = 0 } = usage;
  if (inputTokens === undefined || outputTokens === undefined) return undefined;
  // Some providers count what came from the cache apart from the input.
  const input = cached + written > inputTokens ? inputTokens + cached + written : inputTokens;
  return { input, cached, written, output: outputTokens };
}

function ownCost(price: ModelPrice, { input, cached, written, output }: Counts): number {
  const { cachedInput = price.input, cacheWrite = price.input } = price;
  return (
    ((input - cached - written) * price.input +
      cached * cachedInput +
      written * cacheWrite +
      output * price.output) /
    million
  );
}
