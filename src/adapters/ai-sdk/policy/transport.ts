/** HTTP to a policy's endpoint, with errors that the AI SDK knows how to retry. No header of the caller is sent. */
import type { Endpoint } from '../../../backends/backend.ts';
import { PolicyCallError } from './api-error.ts';
import type { RequestBody } from './request.ts';
import { wireError } from './wire.ts';

/** Posts a chat completion; throws PolicyCallError, or the AbortSignal's reason. */
export async function postCompletion(
  endpoint: Endpoint,
  body: RequestBody,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const url = `${endpoint.baseUrl}/chat/completions`;
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Bearer ${endpoint.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (cause) {
    if (signal?.aborted === true) throw cause;
    throw new PolicyCallError({
      message: `The policy server did not answer: ${String(cause)}`,
      url,
      isRetryable: true,
      cause,
    });
  }
  if (response.ok) return response;
  const { status } = response;
  const parsed = wireError.safeParse(await response.json().catch(() => undefined));
  throw new PolicyCallError({
    message: parsed.success
      ? parsed.data.error.message
      : `The policy server answered with HTTP ${String(status)}.`,
    url,
    statusCode: status,
    responseHeaders: Object.fromEntries(response.headers),
    isRetryable: status === 408 || status === 409 || status === 429 || status >= 500,
  });
}
