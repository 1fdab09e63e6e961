import { expect, it } from 'vitest';
import { packBody, unpackBody } from './body.ts';

/** As the column gives it back. */
function stored(json: string): string | Uint8Array {
  const { form, bytes } = packBody(Buffer.from(json));
  return form === 'text' ? Buffer.from(bytes).toString() : bytes;
}

it.each([2, 1000, 16_383, 16_384, 200_000])('gives JSON of %d characters back', (length) => {
  const json = JSON.stringify({ text: 'ä€ '.repeat(length / 3) }).padEnd(length);
  expect(unpackBody(stored(json))).toBe(json);
});

it('makes long ones shorter', () => {
  const json = JSON.stringify({ text: 'the same again and again '.repeat(4000) });
  expect(stored(json).length).toBeLessThan(json.length / 10);
});

it('refuses what is damaged', () => {
  expect(() => unpackBody(stored(JSON.stringify({ a: 'x'.repeat(20_000) })).slice(0, 40))).toThrow();
});
