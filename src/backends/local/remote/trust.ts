/** A `fetch` that trusts an authority of its own for one host: Node's other connections do not change. */
export async function fetchTrusting(ca: string | undefined): Promise<typeof fetch> {
  if (ca === undefined) return fetch;
  const undici = await import('undici');
  const dispatcher = new undici.Agent({ connect: { ca } });
  // The same function as the global one, of another copy of undici than the one inside Node: only the types differ.
  const send = undici.fetch as unknown as (input: unknown, init: object) => Promise<Response>;
  return (input, init) => send(input, { ...init, dispatcher });
}

/** Codes of Node and OpenSSL for hosts that are not trusted: trying again does not help. */
const untrusted =
  /^(CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|INVALID_CA|ERR_TLS_|ERR_SSL_)/;

/** The code of the error that lies at the bottom of `error`, and whether it says that the host is not trusted. */
export function connectionFault(error: unknown): { readonly code: string; readonly untrusted: boolean } {
  let code = 'no answer';
  for (let one: unknown = error; one instanceof Error; one = one.cause) {
    if ('code' in one && typeof one.code === 'string' && one.code !== 'sidecar_failed') code = one.code;
  }
  return { code, untrusted: untrusted.test(code) };
}
