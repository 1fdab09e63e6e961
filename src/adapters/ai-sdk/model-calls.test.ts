import { expect, it } from 'vitest';
import { recordedFetch, type Fetch } from '../../capture/wire/recorded-fetch.ts';
import { memoryHost } from '../../testing/memory-host.ts';
import type { CallOptions } from './specification.ts';
import { wrapModel } from './wrap-model.ts';

const url = 'http://127.0.0.1/v1/chat/completions';
const request = {
  method: 'POST',
  body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hi' }] }),
};
const completion: Fetch = () =>
  Promise.resolve(
    Response.json({
      id: 'c',
      object: 'chat.completion',
      model: 'm',
      choices: [{ index: 0, message: { role: 'assistant', content: 'yes' }, finish_reason: 'stop' }],
    }),
  );

// The only test of its file: layers are counted for the whole process, and this begins with none.
it('records each call once: of a model that is the only layer, and above a layer that is made later', async () => {
  const host = memoryHost();
  let send = completion;
  const answer = async (_: CallOptions) => {
    await (await send(url, request)).json();
    return { content: [{ type: 'text', text: 'yes' }], finishReason: 'stop', usage: {}, warnings: [] };
  };
  const model = {
    specificationVersion: 'v2',
    provider: 'p',
    modelId: 'm',
    supportedUrls: {},
    doGenerate: answer,
  };
  const wrapped = wrapModel({ ...model, doStream: answer }, host);
  const call = () =>
    wrapped.doGenerate({ prompt: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }] });
  await host.recorder.run({}, async () => {
    await call();
    send = recordedFetch(completion, { recorder: host.recorder, adapter: 'fetch' });
    await call();
    await (await send(url, request)).json();
  });
  expect(host.calls().map((one) => one.adapter)).toEqual(['ai-sdk', 'ai-sdk', 'fetch']);
  expect(host.faults()).toEqual({});
});
