import { describe, expect, it } from 'vitest';
import { InvalidRecordError } from '../../errors.ts';
import { TextReader, TextTaker } from './texts.ts';

function written(taker: TextTaker): string {
  const bytes = Buffer.alloc(8 + taker.byteLength);
  expect(taker.write(bytes, 8)).toBe(bytes.length);
  return bytes.toString('utf8', 8);
}

describe('texts', () => {
  it('come back in their order, of any script', () => {
    const texts = ['plain '.repeat(20), 'ä€ 漢字 😀'.repeat(20), '\0\n"\\'.repeat(40)];
    const taker = new TextTaker();
    const lengths = texts.map((text) => taker.take(text));
    expect(lengths).toEqual(texts.map(({ length }) => length));
    expect(taker.length).toBe(texts.join('').length);
    const reader = new TextReader(written(taker));
    expect(lengths.map((length) => reader.next(length))).toEqual(texts);
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

  it('are refused where characters are missing', () => {
    const reader = new TextReader('x'.repeat(150));
    reader.next(100);
    expect(() => reader.next(51)).toThrow(InvalidRecordError);
  });
});
