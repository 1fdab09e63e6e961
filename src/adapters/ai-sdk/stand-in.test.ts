import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { standInFor } from './stand-in.ts';

/** As compiled classes of providers are: private fields, getters, a field that is written to. */
class Model {
  readonly specificationVersion = 'v4';
  readonly modelId: string = 'model-1';
  readonly supportedUrls = {};
  calls = 0;
  readonly #provider = 'private';

  get provider(): string {
    return this.#provider;
  }

  doGenerate(): Promise<never> {
    this.calls += 1;
    return Promise.reject(new Error(this.#provider));
  }

  doStream(): Promise<never> {
    return this.doGenerate();
  }
}

const instead = (): string => 'instead';
const replaced = new Map([['doStream', () => instead]]);

describe('standInFor', () => {
  it('shows the model, but for what is replaced', async () => {
    const model = new Model();
    const standIn = standInFor(model, replaced) as Model;
    expect(standIn).toMatchObject({
      doStream: instead,
      provider: 'private',
      modelId: 'model-1',
      specificationVersion: 'v4',
    });
    await expect(standIn.doGenerate()).rejects.toThrow('private');
    expect([standIn.calls, model.calls]).toEqual([1, 1]);
    expect(standIn).toBeInstanceOf(Model);
    expect(standIn.constructor).toBe(Model);
    expect(Object.keys(standIn)).toEqual(Object.keys(model));
    expect(Object.assign({}, standIn)).toEqual(Object.assign({}, model));
    expect(JSON.stringify(standIn)).toBe(JSON.stringify(model));
    expect(inspect(standIn)).toBe(inspect(model));
    expect(['provider', 'doStream', 'calls', 'more'].map((key) => key in standIn)).toEqual([
      true,
      true,
      true,
      false,
    ]);
  });

  it('shows what changes later, and writes to the model', () => {
    const model: Model & { more?: number } = new Model();
    const standIn = standInFor(model, replaced) as typeof model;
    Object.assign(model, { modelId: 'model-2', more: 1 });
    expect([standIn.modelId, standIn.more, 'more' in standIn]).toEqual(['model-2', 1, true]);
    standIn.calls = 5;
    standIn.more = 2;
    expect(model).toMatchObject({ calls: 5, more: 2 });
    expect(standIn.more).toBe(2);
  });

  it('stands in for models that are frozen, plain, or without a prototype', () => {
    const plain = {
      specificationVersion: 'v4',
      provider: 'plain',
      modelId: 'plain-1',
      supportedUrls: {},
      doGenerate: () => Promise.reject(new Error('not asked')),
      doStream: () => Promise.reject(new Error('not asked')),
    };
    const bare = Object.assign(Object.create(null) as object, plain);
    const fixed = Object.defineProperty({ ...plain }, 'doStream', {
      value: plain.doStream,
      configurable: false,
    });
    for (const model of [plain, Object.freeze({ ...plain }), bare, fixed]) {
      const standIn = standInFor(model, replaced) as typeof plain;
      expect(standIn.doStream).toBe(instead);
      expect([standIn.provider, standIn.modelId]).toEqual(['plain', 'plain-1']);
      expect(Reflect.ownKeys(standIn)).toEqual(Reflect.ownKeys(model));
      expect(Object.getPrototypeOf(Object.getPrototypeOf(standIn))).toBe(Object.getPrototypeOf(model));
    }
  });
});
