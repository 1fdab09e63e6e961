/** W&B's GraphQL API, as far as artifacts and runs need it. */
import { z } from 'zod';
import { ServiceRequestError } from '../../../errors.ts';
import type { ServiceHttp } from '../http.ts';

const envelope = z.looseObject({
  data: z.unknown(),
  errors: z.array(z.looseObject({ message: z.string() })).nullish(),
});

export class WandbGraphql {
  readonly http: ServiceHttp;
  /** Without a slash at its end. */
  readonly baseUrl: string;

  constructor(http: ServiceHttp, baseUrl: string) {
    this.http = http;
    this.baseUrl = baseUrl;
  }

  /**
   * Asks; checks the answer. All calls that we make may be repeated: queries change nothing, and the mutations that are
   * used name what they make. Throws ServiceRequestError.
   */
  async ask<T>(
    operation: {
      readonly name: string;
      readonly query: string;
      readonly variables?: Readonly<Record<string, unknown>>;
      readonly signal?: AbortSignal | undefined;
    },
    answer: z.ZodType<T>,
  ): Promise<T> {
    const { name, query, variables = {}, signal } = operation;
    const request = `GraphQL ${name}`;
    const value = await this.http.json({
      method: 'POST',
      url: `${this.baseUrl}/graphql`,
      authorisation: 'basic',
      repeatable: true,
      body: JSON.stringify({ query, variables, operationName: name }),
      ...(signal === undefined ? {} : { signal }),
    });
    const parsed = envelope.safeParse(value);
    const [first] = parsed.data?.errors ?? [];
    if (first !== undefined) {
      throw new ServiceRequestError(`${request} was refused: ${first.message}.`, {
        request,
        detail: first.message,
        fix: 'Check the entity and project, and that the key may write there.',
      });
    }
    const data = answer.safeParse(parsed.data?.data);
    if (data.success) return data.data;
    throw new ServiceRequestError(
      `${request} answered otherwise than documented: ${z.prettifyError(data.error)}.`,
      {
        request,
        fix: 'Check `wandbUrl` and the version of this package.',
        cause: data.error,
      },
    );
  }
}

export interface RunName {
  readonly entity: string;
  readonly project: string;
  readonly run: string;
}
