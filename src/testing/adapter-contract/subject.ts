/** What the contract suite needs of an adapter: a small agent, written as users of the framework would write it. */
import type { AdapterHost } from '../../capture/adapter-host.ts';

export interface AdapterUnderTest {
  /** Makes an agent on the incumbent at an OpenAI-dialect server; recorded by `host`, bare where there is none. */
  connect(target: ContractTarget): AgentUnderTest;
}

export interface ContractTarget {
  /** Ends in `/v1`. */
  readonly baseUrl: string;
  readonly apiKey: string;
  readonly host: AdapterHost | undefined;
  /** How often the framework may try a call again. */
  readonly maxRetries: number;
}

export interface AgentUnderTest {
  /** One call; gives the text of the answer. */
  ask(prompt: string, settings?: ContractSettings): Promise<string>;
  /**
   * One streamed call; gives the text that came. `onText` sees all text so far with each new piece, and
   * leaves the stream by `leave`.
   */
  stream(prompt: string, settings?: ContractStreamSettings): Promise<string>;
  /** A loop over the tool `weather`, whose one argument is `city`, up to the answer in text. */
  useTools(prompt: string, settings: ContractToolSettings): Promise<string>;
  /** Structured output by the schema `{ city: string }`. */
  extract(prompt: string, settings?: ContractSettings): Promise<{ readonly city: string }>;
}

export interface ContractSettings {
  readonly signal?: AbortSignal;
}

export interface ContractStreamSettings extends ContractSettings {
  readonly onText?: (text: string) => 'leave' | undefined;
}

export interface ContractToolSettings extends ContractSettings {
  readonly way: 'plain' | 'stream';
  readonly weather: (city: string) => Promise<string>;
}
