/** W&B's own API (§10): GraphQL, file stream, signed URLs, artifact files. */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { answerGraphql, receiveManifest, type Grant, type WandbApiParts } from './graphql.ts';
import { HttpError, type Answer, type Exchange, type Route } from './http.ts';
import { md5 } from './state.ts';

const stream = z.looseObject({
  files: z
    .record(z.string(), z.looseObject({ offset: z.int().min(0), content: z.array(z.string()) }))
    .nullish(),
  complete: z.boolean().nullish(),
  exitcode: z.int().nullish(),
});

/** Remembers what signed URLs allow. */
export class SignedUrls {
  readonly #grants = new Map<string, Grant>();
  #origin = '';

  /** Known only once the server listens. */
  setOrigin(origin: string): void {
    this.#origin = origin;
  }

  sign(grant: Grant): string {
    const token = randomUUID();
    this.#grants.set(token, grant);
    return `${this.#origin}/signed/${token}`;
  }

  /** Throws HttpError 403 where the URL does not allow it. */
  grant(token: string, action: Grant['action']): Grant {
    const found = this.#grants.get(token);
    if (found?.action !== action) throw new HttpError(403, 'The URL is not valid.');
    return found;
  }
}

export function wandbRoutes(
  parts: WandbApiParts,
  signed: SignedUrls,
  basic: Route['authorise'],
  open: Route['authorise'],
): Route[] {
  return [
    {
      method: 'POST',
      path: '/graphql',
      authorise: basic,
      handle: (exchange) => answerGraphql(parts, exchange),
    },
    {
      method: 'POST',
      path: '/files/:entity/:project/:run/file_stream',
      authorise: basic,
      handle: (exchange) => fileStream(parts, exchange),
    },
    {
      method: 'GET',
      path: '/artifactsV2/:region/:entity/:project/:collection/:birth/:md5/*',
      authorise: basic,
      handle: ({ parameters }) => readBlob(parts, parameters['md5'] ?? ''),
    },
    {
      method: 'GET',
      path: '/signed/:token',
      authorise: open,
      handle: ({ parameters }) => readBlob(parts, signed.grant(parameters['token'] ?? '', 'read').blob),
    },
    {
      method: 'PUT',
      path: '/signed/:token',
      authorise: open,
      handle: (exchange) =>
        writeBlob(parts, signed.grant(exchange.parameters['token'] ?? '', 'write'), exchange),
    },
  ];
}

function fileStream({ state }: WandbApiParts, exchange: Exchange): Answer {
  const { entity = '', project = '', run: name = '' } = exchange.parameters;
  const run = state.run(entity, project, name);
  if (run === undefined) throw new HttpError(404, `run ${name} not found`);
  const parsed = stream.safeParse(exchange.json());
  if (!parsed.success) throw new HttpError(400, 'The body is no file stream.');
  const { files, complete, exitcode } = parsed.data;
  for (const [file, { offset, content }] of Object.entries(files ?? {})) {
    if (file === 'wandb-summary.json') run.summary = content.at(-1) ?? run.summary;
    if (file !== 'wandb-history.jsonl') continue;
    if (offset > run.history.length)
      throw new HttpError(
        400,
        `offset ${String(offset)} leaves a hole after ${String(run.history.length)} lines`,
      );
    // Lines are addressed by number: what is sent again replaces itself.
    run.history.splice(offset, content.length, ...content);
  }
  run.open = complete !== true;
  if (complete === true) run.state = (exitcode ?? 0) === 0 ? 'finished' : 'failed';
  state.save();
  return { kind: 'json', value: { limits: {} } };
}

function readBlob({ state }: WandbApiParts, digest: string): Answer {
  const bytes = state.blob(digest);
  if (bytes === undefined) throw new HttpError(404, 'Not Found');
  return { kind: 'bytes', bytes };
}

function writeBlob(parts: WandbApiParts, grant: Grant, { body }: Exchange): Answer {
  if (md5(body).toString('hex') !== grant.blob) throw new HttpError(400, 'The MD5 does not fit the bytes.');
  parts.state.putBlob(body);
  if (grant.action === 'write' && grant.manifestOf !== undefined)
    receiveManifest(parts, grant.manifestOf, body);
  return { kind: 'json', value: {} };
}
