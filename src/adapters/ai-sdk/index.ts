/** `apprentice/ai-sdk`: the adapter for the Vercel AI SDK, majors 5, 6 and 7. */
export { wrapModel } from './wrap-model.ts';
export type { AdapterHost } from '../../capture/adapter-host.ts';
export { installDefaultProvider, wrapProvider } from './wrap-provider.ts';
