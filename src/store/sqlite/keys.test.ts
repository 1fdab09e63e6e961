import { DatabaseSync } from 'node:sqlite';
import { beforeEach, describe, expect, it } from 'vitest';
import { KeyIndex, keyOf } from './keys.ts';

describe('index of keys', () => {
  let file: DatabaseSync;

  beforeEach(() => {
    file = new DatabaseSync(':memory:');
    file.exec(
      'create table keys (key integer, sequence integer, primary key (key, sequence)) without rowid;' +
        'create table recent_keys (key integer, sequence integer)',
    );
  });

  const rows = (table: string) => file.prepare(`select key, sequence from ${table}`).all();

  it('leaves new keys in the log while they are few', () => {
    const index = new KeyIndex(file, 4);
    index.add(['thread:a', 'response:b', 'run:c'], 1);
    index.tidy();
    expect(rows('keys')).toEqual([]);
    expect(rows('recent_keys')).toHaveLength(3);
  });

  it('moves them into the tree once they are many, each once', () => {
    const index = new KeyIndex(file, 4);
    index.add(['thread:a', 'thread:a', 'thread:b'], 1);
    index.add(['thread:a'], 2);
    index.tidy();
    expect(rows('recent_keys')).toEqual([]);
    const found = rows('keys').map(({ key, sequence }) => [key, sequence]);
    expect(found).toHaveLength(3);
    expect(found).toEqual(
      expect.arrayContaining([
        [keyOf('thread:a'), 1],
        [keyOf('thread:a'), 2],
        [keyOf('thread:b'), 1],
      ]),
    );
  });

  it('counts those that an earlier process has left', () => {
    new KeyIndex(file, 4).add(['a:1', 'a:2', 'a:3'], 1);
    const next = new KeyIndex(file, 4);
    next.add(['a:4'], 2);
    next.tidy();
    expect(rows('keys')).toHaveLength(4);
  });

  it('sees that another process has moved them meanwhile', () => {
    const [one, other] = [new KeyIndex(file, 2), new KeyIndex(file, 2)];
    one.add(['a:1', 'a:2'], 1);
    other.add(['a:3', 'a:4'], 2);
    other.tidy();
    one.add(['a:5'], 3);
    one.tidy();
    expect(rows('keys')).toHaveLength(4);
    expect(rows('recent_keys')).toHaveLength(1);
  });

  it('lets more wait in a large store', () => {
    const index = new KeyIndex(file, 2);
    index.add(['a:1', 'a:2', 'a:3'], 1000);
    index.tidy();
    expect(rows('keys')).toEqual([]);
  });

  it('keeps everything where the log cannot be moved, and tries again once as many more have come', () => {
    const index = new KeyIndex(file, 2);
    const tidy = () => {
      index.tidy();
    };
    index.add(['a:1', 'a:2'], 1);
    file.exec('alter table keys rename to elsewhere');
    expect(tidy).toThrow('no such table');
    expect(file.isTransaction).toBe(false);
    expect(rows('recent_keys')).toHaveLength(2);
    index.add(['a:3'], 2);
    expect(tidy).not.toThrow();
    file.exec('alter table elsewhere rename to keys');
    index.add(['a:4'], 3);
    tidy();
    expect(rows('keys')).toHaveLength(4);
    expect(rows('recent_keys')).toEqual([]);
  });
});

it('has another key for each kind of the same name', () => {
  expect(keyOf('thread:x')).not.toBe(keyOf('message:x'));
});
