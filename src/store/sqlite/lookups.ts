/** `kind:value` → the condition that a trajectory has it, wherever the tables keep that kind. */
import type { Expression, ExpressionBuilder, SqlBool } from 'kysely';
import type { Tables } from './migrations.ts';
import { responseKey } from './response-key.ts';

/** A condition on `trajectories`. */
export function withLookup(
  eb: ExpressionBuilder<Tables, 'trajectories'>,
  lookup: string,
): Expression<SqlBool> {
  const at = lookup.indexOf(':');
  const kind = lookup.slice(0, at);
  const value = lookup.slice(at + 1);
  switch (kind) {
    case 'trajectory':
      return eb('trajectories.id', '=', value);
    case 'message':
      return eb('trajectories.message_id', '=', value);
    case 'thread':
      return eb('trajectories.thread_id', '=', value);
    case 'response': {
      const key = responseKey(value);
      const found = eb.selectFrom('responses').select('sequence').where('response_key', '=', key);
      return eb('trajectories.sequence', 'in', found);
    }
    default: {
      const found = eb.selectFrom('lookups').select('sequence').where('lookup', '=', lookup);
      return eb('trajectories.sequence', 'in', found);
    }
  }
}
