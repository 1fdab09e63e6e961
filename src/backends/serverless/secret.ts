/** The key: held where nothing prints it, and taken out of whatever a service says. */
import { InvalidOptionError } from '../../errors.ts';

const fix = 'Give `apiKey`, or set WANDB_API_KEY; keys are made in the settings of your W&B account.';

export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The argument, else `WANDB_API_KEY`. Throws InvalidOptionError, which never shows what was given. */
  static resolve(given: string | undefined): Secret {
    const value = given ?? process.env['WANDB_API_KEY'] ?? '';
    if (value === '') throw refuse(undefined, 'a W&B API key');
    // Anything else could not go into a header, and the error of fetch would show it.
    if (!/^[\x21-\x7e]+$/.test(value))
      throw refuse('(hidden)', 'a W&B API key, without spaces and line ends');
    return new Secret(value);
  }

  reveal(): string {
    return this.#value;
  }

  get bearer(): string {
    return `Bearer ${this.#value}`;
  }

  /** W&B's own API takes the user `api` with the key as password. */
  get basic(): string {
    return `Basic ${Buffer.from(`api:${this.#value}`).toString('base64')}`;
  }

  /** The text without the key, in whichever of its forms. */
  redact(text: string): string {
    const encoded = Buffer.from(`api:${this.#value}`).toString('base64');
    return text.replaceAll(this.#value, '[key]').replaceAll(encoded, '[key]');
  }

  toString(): string {
    return '[key]';
  }

  toJSON(): string {
    return '[key]';
  }
}

function refuse(received: unknown, expected: string): InvalidOptionError {
  return new InvalidOptionError({ field: 'serverlessBackend.apiKey', received, expected, fix });
}
