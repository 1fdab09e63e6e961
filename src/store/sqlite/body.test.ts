import { deflateSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { endOfJson, packBody, unpackBody } from './body.ts';

function body(json: string, texts: string): Uint8Array {
  return Buffer.concat([Buffer.from(json), Buffer.of(endOfJson), Buffer.from(texts)]);
}

it.each([2, 1000, 16_383, 16_384, 200_000])('gives JSON and texts of %d characters back', (length) => {
  const json = JSON.stringify({ text: 'ä€\n'.repeat(length / 6) });
  const texts = '漢字\n\0{'.repeat(length / 10);
  expect(unpackBody(packBody(body(json, texts)))).toEqual({ json, texts });
});

it.each([
  ['text', '{"a":1}'],
  ['the zlib format', deflateSync('{"a":1}')],
])('reads what older versions have stored as %s', (_, value) => {
  expect(unpackBody(value)).toEqual({ json: '{"a":1}', texts: '' });
});

it('makes long ones shorter', () => {
  const long = body('{}', 'the same again and again '.repeat(4000));
  expect(packBody(long).length).toBeLessThan(long.length / 10);
});

it('refuses what is damaged', () => {
  const packed = packBody(body('{}', 'x'.repeat(20_000)));
  expect(() => unpackBody(packed.subarray(0, 20))).toThrow();
  expect(() => unpackBody(packed.subarray(1))).toThrow();
});
