/** For tests of agents and of code that reads records: valid records, and a scripted model server. */
export {
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectRequest,
  type DialectServer,
  type DialectToolCall,
} from './openai-dialect-server.ts';
export { aCall, aReward, aTrajectory } from './records.ts';
