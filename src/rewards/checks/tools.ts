import { toolCalls, toolResults } from '../../trajectory/views.ts';
import { codeReward } from '../code-reward.ts';
import type { RewardFunction, Scenario } from '../reward.ts';

/** The share of tool results without an error, in [0, 1]; says nothing where no tool gave a result. */
export function toolSuccess<S extends Scenario = never, R = never>(
  options: { readonly name?: string; readonly tools?: readonly string[] } = {},
): RewardFunction<S, R> {
  const { name = 'tool-success', tools } = options;
  return codeReward(name, ({ trajectory }) => {
    const results = toolResults(trajectory).filter((one) => tools?.includes(one.toolName) !== false);
    if (results.length === 0) return undefined;
    const failed = results.filter((one) => one.error !== undefined);
    return {
      value: 1 - failed.length / results.length,
      ...(failed.length === 0 ? {} : { explanation: failed.map((one) => one.toolName).join(', ') }),
    };
  });
}

/** 1 where none of these tools was called, else 0, with their names. As a gate it forbids them. */
export function forbiddenTools<S extends Scenario = never, R = never>(
  tools: readonly string[],
  options: { readonly name?: string } = {},
): RewardFunction<S, R> {
  return codeReward(options.name ?? 'forbidden-tools', ({ trajectory }) => {
    const called = toolCalls(trajectory).filter((one) => tools.includes(one.name));
    if (called.length === 0) return 1;
    return { value: 0, explanation: [...new Set(called.map((one) => one.name))].join(', ') };
  });
}

/** The share of these tools that were called at least once, in [0, 1]. */
export function requiredTools<S extends Scenario = never, R = never>(
  tools: readonly string[],
  options: { readonly name?: string } = {},
): RewardFunction<S, R> {
  return codeReward(options.name ?? 'required-tools', ({ trajectory }) => {
    if (tools.length === 0) return undefined;
    const called = new Set(toolCalls(trajectory).map((one) => one.name));
    return tools.filter((one) => called.has(one)).length / tools.length;
  });
}
