/**
 * For tests of agents, of adapters and of code that reads records: valid records, a scripted model server, recorders in
 * memory, and the contract that every adapter keeps.
 */
export { adapterContract, type ContractCase } from './adapter-contract/cases.ts';
export type {
  AdapterUnderTest,
  AgentUnderTest,
  ContractSettings,
  ContractStreamSettings,
  ContractTarget,
  ContractToolSettings,
} from './adapter-contract/subject.ts';
export { memoryHost, type MemoryHost } from './memory-host.ts';
export {
  startOpenAIDialectServer,
  type DialectAnswer,
  type DialectRequest,
  type DialectServer,
  type DialectToolCall,
} from './openai-dialect-server.ts';
export { aCall, aFeedback, aReward, aTrajectory } from './records.ts';
export { policy, startPolicyHost, type PolicyHost } from './policy-host.ts';
