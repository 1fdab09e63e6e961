/** HTTP to a policy's endpoint. No header of the caller is sent. */
import type { Endpoint } from '../../backends/backend.ts';

export function completionsUrl(endpoint: Endpoint): string {
  return `${endpoint.baseUrl}/chat/completions`;
}

/** Posts a chat completion. Rejects as `fetch` does: TypeError, or the AbortSignal's reason. */
export function sendToPolicy(
  endpoint: Endpoint,
  body: unknown,
  signal: AbortSignal | undefined,
): Promise<Response> {
  return (endpoint.fetch ?? fetch)(completionsUrl(endpoint), {
    method: 'POST',
    headers: { authorization: `Bearer ${endpoint.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal === undefined ? {} : { signal }),
  });
}
