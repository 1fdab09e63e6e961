/** `apprentice/openai`: the adapter for the `openai` package, majors 4 to 7, and for whatever takes a `fetch`. */
export type { AdapterHost } from '../../capture/adapter-host.ts';
export type { Fetch } from '../../capture/wire/recorded-fetch.ts';
export { recordingFetch } from './recording-fetch.ts';
export { wrapOpenAI } from './wrap-openai.ts';
