/** A run at W&B: made or taken up again, fed with rows, closed. */
import { z } from 'zod';
import type { RunName, WandbGraphql } from './graphql.ts';

const upserted = z.looseObject({
  upsertBucket: z.looseObject({ bucket: z.looseObject({ historyLineCount: z.int().nullish() }) }),
});

const query = `mutation UpsertRun($input: UpsertBucketInput!) {
  upsertBucket(input: $input) { bucket { id name historyLineCount } inserted }
}`;

export class WandbRun {
  readonly #api: WandbGraphql;
  readonly #name: RunName;
  readonly #startedAt = Date.now();
  /** Lines that the history holds: rows are addressed by number, so that one sent twice replaces itself. */
  #lines: number;

  private constructor(api: WandbGraphql, name: RunName, lines: number) {
    this.#api = api;
    this.#name = name;
    this.#lines = lines;
  }

  /** Throws ServiceRequestError. */
  static async open(api: WandbGraphql, name: RunName, signal?: AbortSignal): Promise<WandbRun> {
    const { entity, project, run } = name;
    const input = { name: run, modelName: project, entityName: entity, displayName: run };
    const { upsertBucket } = await api.ask(
      { name: 'UpsertRun', query, variables: { input }, signal },
      upserted,
    );
    return new WandbRun(api, name, upsertBucket.bucket.historyLineCount ?? 0);
  }

  /** Adds one row to the charts. */
  async log(metrics: Readonly<Record<string, number>>, step: number): Promise<void> {
    const now = Date.now();
    const row = JSON.stringify({
      ...metrics,
      training_step: step,
      'time/wall_clock_sec': (now - this.#startedAt) / 1000,
      _step: this.#lines,
      _runtime: (now - this.#startedAt) / 1000,
      _timestamp: now / 1000,
    });
    await this.#stream({
      files: {
        'wandb-history.jsonl': { offset: this.#lines, content: [row] },
        'wandb-summary.json': { offset: 0, content: [row] },
      },
    });
    this.#lines += 1;
  }

  /** Closes it: the service takes up a run only after that. */
  async finish(): Promise<void> {
    await this.#stream({ complete: true, exitcode: 0 });
  }

  async #stream(body: object): Promise<void> {
    const path = [this.#name.entity, this.#name.project, this.#name.run].map(encodeURIComponent).join('/');
    await this.#api.http.bytes({
      method: 'POST',
      url: `${this.#api.baseUrl}/files/${path}/file_stream`,
      authorisation: 'basic',
      repeatable: true,
      body: JSON.stringify(body),
    });
  }
}
