import { expect, it } from 'vitest';
import { NumberTaker } from '../encoding/numbers.ts';
import { TextTaker } from '../encoding/texts.ts';
import { unpackBody } from './body.ts';
import { recordAt, RecordWriter, type RecordParts } from './record-bytes.ts';

function parts({ body = '{}', head = '{}', texts = [] as string[], ids = [] as number[] }): RecordParts {
  const numbers = new NumberTaker();
  numbers.ids(ids);
  const taker = new TextTaker();
  for (const text of texts) expect(taker.take(text)).toBeGreaterThan(0);
  return { numbers, head, body, texts: taker };
}

const scripts = [
  'plain',
  'ä€ 漢字 😀',
  'x'.repeat(200_000),
  'é'.repeat(200_000),
  '漢'.repeat(300_000),
  'last',
];

it('gives JSON of any length and script back, each from its place', () => {
  const writer = new RecordWriter();
  const bodies = scripts.map((text) => JSON.stringify({ text }));
  const places = bodies.map((body, at) => writer.add(parts({ body, head: `head ${String(at)} é` })));
  const found = places.map((place) => recordAt(place));
  expect(found.map(({ body }) => unpackBody(body).json)).toEqual(bodies);
  expect(found.map(({ head }) => head.toString())).toEqual(bodies.map((_, at) => `head ${String(at)} é`));
});

it('gives texts of any length and script back, behind their JSON', () => {
  const writer = new RecordWriter();
  const texts = scripts.map((text) => text.padEnd(100, '.'));
  const places = texts.map((text) => writer.add(parts({ texts: [text, 'b'.repeat(100)] })));
  const found = places.map((place) => unpackBody(recordAt(place).body));
  expect(found).toEqual(texts.map((text) => ({ json: '{}', texts: text + 'b'.repeat(100) })));
});

it('gives numbers back, wherever the text before them has ended', () => {
  const writer = new RecordWriter();
  const places = Array.from({ length: 30 }, (_, at) =>
    writer.add(parts({ ids: [at, 2 ** 32 - 1], body: 'a'.repeat(at) })),
  );
  for (const [at, place] of places.entries()) {
    const bytes = new Uint8Array(recordAt(place).numbers).buffer;
    expect([...new Uint32Array(bytes)]).toEqual([at, 2 ** 32 - 1]);
  }
});

it('keeps many short ones in one chunk', () => {
  const writer = new RecordWriter();
  const chunks = Array.from({ length: 20 }, () => writer.add(parts({ body: 'a'.repeat(10_000) })).chunk);
  expect(new Set(chunks).size).toBe(1);
});

it.each([
  ['numbers', parts({ ids: Array.from({ length: 100_000 }, (_, at) => at) }), 400_000],
  ['texts', parts({ texts: ['漢'.repeat(100_000)] }), 300_000],
])('has room for more %s than a chunk holds', (_, more, bytes) => {
  const { chunk, from, until } = new RecordWriter().add(more);
  expect(until - from).toBeGreaterThanOrEqual(bytes);
  expect(chunk.byteLength).toBeGreaterThanOrEqual(until);
});

it('refuses a place that is not there', () => {
  const place = new RecordWriter().add(parts({}));
  expect(() => recordAt({ ...place, until: place.chunk.byteLength + 1 })).toThrow(RangeError);
});
