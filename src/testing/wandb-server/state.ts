/** What the stand-in keeps: models, checkpoints, jobs, artifacts, runs, blobs; in memory, or in a folder as well. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ModelRecord {
  readonly id: string;
  readonly entity: string;
  readonly project: string;
  readonly name: string;
  readonly base_model: string;
  readonly run_id: string;
}

export interface CheckpointRecord {
  readonly id: string;
  readonly modelId: string;
  readonly step: number;
  readonly metrics: Readonly<Record<string, number>>;
  /** The engine's folder; null for step 0, the base model. */
  readonly folder: string | null;
  readonly createdAt: number;
}

export interface JobEventRecord {
  readonly id: string;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface JobRecord {
  readonly id: string;
  readonly modelId: string;
  readonly kind: 'rl' | 'sft';
  readonly events: JobEventRecord[];
  status: 'queued' | 'running' | 'completed' | 'failed';
}

export interface ArtifactFile {
  /** Base64 of the MD5. */
  readonly digest: string;
  readonly size: number;
}

export interface ArtifactRecord {
  readonly id: string;
  readonly entity: string;
  readonly project: string;
  readonly type: string;
  readonly collection: string;
  readonly digest: string;
  versionIndex: number | null;
  aliases: string[];
  state: 'PENDING' | 'COMMITTED' | 'DELETED';
  metadata: string;
  /** MD5 (hex) of the manifest's blob, once it is there. */
  manifest: string | null;
  files: Record<string, ArtifactFile>;
}

export interface RunRecord {
  readonly entity: string;
  readonly project: string;
  readonly name: string;
  displayName: string;
  config: string;
  state: string;
  summary: string;
  history: string[];
  /** Whether somebody holds it open by writing to it. */
  open: boolean;
}

interface Tables {
  models: ModelRecord[];
  checkpoints: CheckpointRecord[];
  jobs: JobRecord[];
  artifacts: ArtifactRecord[];
  runs: RunRecord[];
}

export class WandbState {
  readonly tables: Tables;
  readonly #folder: string | undefined;
  readonly #blobs = new Map<string, Buffer>();

  constructor(folder?: string) {
    this.#folder = folder;
    this.tables = { models: [], checkpoints: [], jobs: [], artifacts: [], runs: [] };
    if (folder === undefined) return;
    mkdirSync(join(folder, 'blobs'), { recursive: true });
    try {
      Object.assign(this.tables, JSON.parse(readFileSync(join(folder, 'state.json'), 'utf8')));
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  }

  /** Writes everything down; the previous state stays until the new one is whole. */
  save(): void {
    if (this.#folder === undefined) return;
    const file = join(this.#folder, 'state.json');
    writeFileSync(`${file}.tmp`, JSON.stringify(this.tables));
    renameSync(`${file}.tmp`, file);
  }

  model(id: string): ModelRecord | undefined {
    return this.tables.models.find((one) => one.id === id);
  }

  /** Of one model, by ascending step. */
  checkpoints(modelId: string): CheckpointRecord[] {
    return this.tables.checkpoints.filter((one) => one.modelId === modelId).sort((a, b) => a.step - b.step);
  }

  artifact(id: string): ArtifactRecord | undefined {
    return this.tables.artifacts.find((one) => one.id === id && one.state !== 'DELETED');
  }

  /** By alias (`step3`, `latest`) or version (`v0`); without one, the latest. */
  findArtifact(
    entity: string,
    project: string,
    collection: string,
    alias = 'latest',
  ): ArtifactRecord | undefined {
    return this.tables.artifacts.find(
      (one) =>
        one.entity === entity &&
        one.project === project &&
        one.collection === collection &&
        one.state === 'COMMITTED' &&
        (one.aliases.includes(alias) || alias === `v${String(one.versionIndex)}`),
    );
  }

  run(entity: string, project: string, name: string): RunRecord | undefined {
    return this.tables.runs.find(
      (one) => one.entity === entity && one.project === project && one.name === name,
    );
  }

  /** Keeps bytes under their MD5 (hex). */
  putBlob(bytes: Uint8Array): string {
    const digest = md5(bytes).toString('hex');
    if (this.#folder === undefined) this.#blobs.set(digest, Buffer.from(bytes));
    else writeFileSync(join(this.#folder, 'blobs', digest), bytes);
    return digest;
  }

  blob(digest: string): Buffer | undefined {
    if (this.#folder === undefined) return this.#blobs.get(digest);
    try {
      return readFileSync(join(this.#folder, 'blobs', digest));
    } catch {
      return undefined;
    }
  }
}

export function md5(bytes: Uint8Array): Buffer {
  return createHash('md5').update(bytes).digest();
}

/** Base64 of an MD5, as manifests have it, to hex, as paths have it. */
export function toHex(base64: string): string {
  return Buffer.from(base64, 'base64').toString('hex');
}
