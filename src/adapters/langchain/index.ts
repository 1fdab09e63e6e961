/** `apprentice/langchain`: the adapter for LangChain.js and LangGraph.js 1.x. */
export { instrument } from './instrument.ts';
export { apprenticeMiddleware } from './middleware.ts';
export { wrapTools } from './tools.ts';
export { wrapModel } from './wrap-model.ts';
export type { AdapterHost } from '../../capture/adapter-host.ts';
export type { WrapOptions } from './wrap-model.ts';
export type { PolicySettings } from './policy/model.ts';
