/** The manifest of an artifact: which files, with which digests. Pure. */
import { createHash } from 'node:crypto';
import { z } from 'zod';

export const manifest = z.looseObject({
  version: z.literal(1),
  contents: z.record(
    z.string(),
    z.looseObject({
      /** Base64 of the MD5. */
      digest: z.string(),
      size: z.int().nonnegative().optional(),
      birthArtifactID: z.string().optional(),
      /** Where the bytes lie elsewhere: not followed. */
      ref: z.string().optional(),
    }),
  ),
});

export type Contents = z.infer<typeof manifest>['contents'];

/** The artifact's digest: hex MD5 over a version line and one line for each file, by path. */
export function manifestDigest(contents: Contents): string {
  const hash = createHash('md5').update('wandb-artifact-manifest-v1\n');
  for (const [path, { digest }] of Object.entries(contents).sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${path}:${digest}\n`);
  return hash.digest('hex');
}

/** Base64 of the MD5, as manifests have it. */
export function fileDigest(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64');
}
