/** `kind:value` → the condition that a trajectory has it, wherever the tables keep that kind. */
import type { Expression, ExpressionBuilder, SqlBool } from 'kysely';
import { keyOf } from './keys.ts';
import type { Tables } from './migrations.ts';

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
    // Their columns have no index; what the key has found is compared with them.
    case 'message':
      return eb.and([eb('trajectories.message_id', '=', value), withKey(eb, lookup)]);
    case 'thread':
      return eb.and([eb('trajectories.thread_id', '=', value), withKey(eb, lookup)]);
    default:
      return withKey(eb, lookup);
  }
}

function withKey(eb: ExpressionBuilder<Tables, 'trajectories'>, lookup: string): Expression<SqlBool> {
  const key = keyOf(lookup);
  const old = eb.selectFrom('keys').select('sequence').where('key', '=', key);
  const recent = eb.selectFrom('recent_keys').select('sequence').where('key', '=', key);
  return eb('trajectories.sequence', 'in', old.unionAll(recent));
}
