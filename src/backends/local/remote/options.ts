/** Where a sidecar on another host is, and what proves who is who. */
import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { InvalidOptionError } from '../../../errors.ts';

export interface RemoteOptions {
  /** As the host is reached, for instance `https://gpu.example:8420`. Plain http only to this machine, as by a tunnel. */
  readonly url: string;
  /** The bearer token; give it or `tokenFile`. */
  readonly token?: string;
  /** A file that holds the token, readable by its owner only. */
  readonly tokenFile?: string;
  /** PEM file with the certificate that vouches for the host. Default: the authorities that Node trusts. */
  readonly caFile?: string;
}

export const remoteSchema = z.strictObject({
  url: z.string(),
  token: z.string().optional(),
  tokenFile: z.string().min(1).optional(),
  caFile: z.string().min(1).optional(),
});

export interface RemoteAddress {
  /** Without a slash at its end. */
  readonly url: string;
  readonly token: string;
  /** PEM. */
  readonly ca: string | undefined;
}

/** Reads the files and checks everything that can be checked before a connection. Throws InvalidOptionError. */
export function readRemoteOptions({ url, token, tokenFile, caFile }: RemoteOptions): RemoteAddress {
  return {
    url: checkUrl(url),
    token: readToken(token, tokenFile),
    ca: caFile === undefined ? undefined : readPem(caFile),
  };
}

function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const refuse = (expected: string, fix: string): InvalidOptionError =>
    new InvalidOptionError({ field: 'localBackend.remote.url', received: text, expected, fix });
  if (url === undefined || !['https:', 'http:'].includes(url.protocol))
    throw refuse(
      'an https URL',
      'Give the address that the host is reached by, such as https://gpu.example:8420.',
    );
  if (url.username !== '' || url.search !== '' || url.hash !== '')
    throw refuse('a URL without user, query and fragment', 'Give the token as `token` or `tokenFile`.');
  if (url.protocol === 'http:' && !['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname))
    throw refuse(
      'an https URL, because the token would travel unencrypted',
      'Serve with --tls-cert and --tls-key or behind a proxy, or use a tunnel and its local address.',
    );
  return url.href.replace(/\/+$/, '');
}

function readToken(token: string | undefined, file: string | undefined): string {
  if ((token === undefined) === (file === undefined)) {
    throw new InvalidOptionError({
      field: 'localBackend.remote.token',
      received: token === undefined ? undefined : 'given twice',
      expected: 'given once, as `token` or as `tokenFile`',
      fix: 'Copy the token of the host into a file of mode 600, and give its path as `tokenFile`.',
    });
  }
  const found = file === undefined ? (token ?? '') : readOwnFile(file);
  if (!/^[\x21-\x7e]{32,}$/.test(found.trim())) {
    throw new InvalidOptionError({
      field: file === undefined ? 'localBackend.remote.token' : 'localBackend.remote.tokenFile',
      received: file ?? `${String(found.length)} characters`,
      expected: 'a token of at least 32 plain characters',
      fix: 'Copy it from the file that the host was started with.',
    });
  }
  return found.trim();
}

function readOwnFile(file: string): string {
  const refuse = (expected: string, fix: string, cause?: unknown): InvalidOptionError =>
    new InvalidOptionError({ field: 'localBackend.remote.tokenFile', received: file, expected, fix, cause });
  try {
    if (process.platform !== 'win32' && (statSync(file).mode & 0o077) !== 0)
      throw refuse('a file that only its owner may read', `Run: chmod 600 ${file}`);
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof InvalidOptionError) throw error;
    throw refuse('a file that can be read', 'Copy the token of the host into it.', error);
  }
}

function readPem(file: string): string {
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // said below
  }
  if (text.includes('-----BEGIN CERTIFICATE-----')) return text;
  throw new InvalidOptionError({
    field: 'localBackend.remote.caFile',
    received: file,
    expected: 'a PEM file with a certificate',
    fix: 'Give the certificate of the authority that signed the one of the host, or that one itself.',
  });
}
