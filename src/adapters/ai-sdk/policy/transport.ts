/** HTTP to a policy's endpoint, with errors that the AI SDK knows how to retry. */
import type { Endpoint } from '../../../backends/backend.ts';
import { reportedError } from '../../../capture/wire/schema.ts';
import { completionsUrl, sendToPolicy } from '../../../capture/wire/transport.ts';
import { PolicyCallError } from './api-error.ts';
import type { RequestBody } from './request.ts';

/** Posts a chat completion; throws PolicyCallError, or the AbortSignal's reason. */
export async function postCompletion(
  endpoint: Endpoint,
  body: RequestBody,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const url = completionsUrl(endpoint);
  let response: Response;
  try {
    response = await sendToPolicy(endpoint, body, signal);
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
  const reported = reportedError(await response.json().catch(() => undefined));
  throw new PolicyCallError({
    message: reported ?? `The policy server answered with HTTP ${String(status)}.`,
    url,
    statusCode: status,
    responseHeaders: Object.fromEntries(response.headers),
    isRetryable: status === 408 || status === 409 || status === 429 || status >= 500,
  });
}
