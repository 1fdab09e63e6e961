import { expect, it } from 'vitest';
import { BodyWriter, bodyBytes } from './bodies.ts';

it('gives texts of any length and script back, each from its place', () => {
  const writer = new BodyWriter();
  const texts = [
    '',
    'plain',
    'ä€ 漢字 😀',
    'x'.repeat(200_000),
    'é'.repeat(200_000),
    '漢'.repeat(300_000),
    'last',
  ];
  const places = texts.map((text) => writer.add(text));
  expect(places.map((place) => bodyBytes(place).toString())).toEqual(texts);
});

it('keeps many short texts in one chunk', () => {
  const writer = new BodyWriter();
  const chunks = Array.from({ length: 20 }, () => writer.add('a'.repeat(10_000)).chunk);
  expect(new Set(chunks).size).toBe(1);
});

it('refuses a place that is not there', () => {
  const { chunk } = new BodyWriter().add('text');
  expect(() => bodyBytes({ chunk, from: 0, until: chunk.byteLength + 1 })).toThrow(RangeError);
});
