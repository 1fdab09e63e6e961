import { describe, expect, it } from 'vitest';
import { InvalidRecordError } from '../../errors.ts';
import { TextReader, TextTaker } from './texts.ts';

function written(taker: TextTaker): string {
  const bytes = Buffer.alloc(8 + taker.byteLength);
  expect(taker.write(bytes, 8)).toBe(bytes.length);
  return bytes.toString('utf8', 8);
}

const texts = ['plain '.repeat(20), 'ä€ 漢字 😀'.repeat(20), '\0\n"\\'.repeat(40)];

describe('texts', () => {
  it('come back by their numbers, of any script', () => {
    const taker = new TextTaker();
    expect(texts.map((text) => taker.take(text))).toEqual([1, 2, 3]);
    expect(taker.lengths).toEqual(texts.map(({ length }) => length));
    expect(taker.length).toBe(texts.join('').length);
    const reader = new TextReader(written(taker), taker.lengths);
    expect([3, 1, 2].map((number) => reader.get(number))).toEqual([texts[2], texts[0], texts[1]]);
  });

  it('lie there once that come again soon', () => {
    const taker = new TextTaker();
    const [result = ''] = texts;
    expect([taker.take(result), taker.take(texts[1]), taker.take(` ${result}`.slice(1))]).toEqual([1, 2, 1]);
    expect(written(taker)).toBe(texts.slice(0, 2).join(''));
  });

  it('are not looked for far back', () => {
    const taker = new TextTaker();
    const many = Array.from({ length: 20 }, (_, at) => String(at).padEnd(100));
    expect([...many, many[0]].map((text) => taker.take(text)).at(-1)).toBe(21);
  });

  it.each([
    ['is short', 'short'],
    ['UTF-8 does not have', `${'x'.repeat(200)}\ud83d`],
    ['is no text', ['x'.repeat(200)]],
    ['is missing', undefined],
  ])('leave what %s where it is', (_, value) => {
    const taker = new TextTaker();
    expect(taker.take(value)).toBe(0);
    expect(written(taker)).toBe('');
  });

  it('are refused where characters or texts are missing', () => {
    expect(() => new TextReader('x'.repeat(150), [100, 51])).toThrow(InvalidRecordError);
    expect(() => new TextReader('x'.repeat(150), [150]).get(2)).toThrow(InvalidRecordError);
  });
});
