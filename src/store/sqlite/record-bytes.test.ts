import { expect, it } from 'vitest';
import { recordAt, RecordWriter, type RecordParts } from './record-bytes.ts';

const none = { logprobs: [], ids: [] };

function parts(body: string, head = '{}'): RecordParts {
  return { numbers: none, head, body };
}

it('gives texts of any length and script back, each from its place', () => {
  const writer = new RecordWriter();
  const texts = [
    '',
    'plain',
    'ä€ 漢字 😀',
    'x'.repeat(200_000),
    'é'.repeat(200_000),
    '漢'.repeat(300_000),
    'last',
  ];
  const places = texts.map((text, at) => writer.add(parts(text, `head ${String(at)} é`)));
  const found = places.map((place) => recordAt(place));
  expect(found.map(({ body }) => body.toString())).toEqual(texts);
  expect(found.map(({ head }) => head.toString())).toEqual(texts.map((_, at) => `head ${String(at)} é`));
});

it('gives numbers back, wherever the text before them has ended', () => {
  const writer = new RecordWriter();
  const logprobs = [-0.1, -1e-320, 0];
  const places = Array.from({ length: 30 }, (_, at) =>
    writer.add({
      numbers: { logprobs: [logprobs], ids: [[at, 2 ** 32 - 1]] },
      head: '',
      body: 'a'.repeat(at),
    }),
  );
  for (const [at, place] of places.entries()) {
    const bytes = new Uint8Array(recordAt(place).numbers).buffer;
    expect([...new Float64Array(bytes, 0, 3)]).toEqual(logprobs);
    expect([...new Uint32Array(bytes, 24)]).toEqual([at, 2 ** 32 - 1]);
  }
});

it('keeps many short ones in one chunk', () => {
  const writer = new RecordWriter();
  const chunks = Array.from({ length: 20 }, () => writer.add(parts('a'.repeat(10_000))).chunk);
  expect(new Set(chunks).size).toBe(1);
});

it('has room for more numbers than a chunk holds', () => {
  const ids = Array.from({ length: 100_000 }, (_, at) => at);
  const place = new RecordWriter().add({ numbers: { logprobs: [], ids: [ids] }, head: '', body: '' });
  expect(recordAt(place).numbers.length).toBe(400_000);
});

it('refuses a place that is not there', () => {
  const place = new RecordWriter().add(parts('text'));
  expect(() => recordAt({ ...place, until: place.chunk.byteLength + 1 })).toThrow(RangeError);
});
