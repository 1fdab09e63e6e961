import { expect, it } from 'vitest';
import { BodyWriter, readBody } from './bodies.ts';

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
  const chunks = writer.take();
  expect(places.map((place) => readBody(chunks, place))).toEqual(texts);
});

it('begins anew once its chunks are taken', () => {
  const writer = new BodyWriter();
  writer.add('first');
  const first = writer.take();
  const place = writer.add('second');
  const second = writer.take();
  expect(place).toEqual({ chunk: 0, from: 0, until: 6 });
  expect(readBody(second, place)).toBe('second');
  expect(first).not.toContain(second[0]);
  expect(writer.take()).toEqual([]);
});

it('keeps many short texts in one chunk', () => {
  const writer = new BodyWriter();
  for (let count = 0; count < 20; count += 1) writer.add('a'.repeat(10_000));
  expect(writer.take()).toHaveLength(1);
});

it('refuses a place that is not there', () => {
  expect(() => readBody([], { chunk: 0, from: 0, until: 1 })).toThrow(RangeError);
});
