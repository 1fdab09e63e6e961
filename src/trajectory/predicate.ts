/**
 * Whether a value fits a zod schema, without the copy that parsing makes: for the hot path, where nearly everything
 * fits. What does not is parsed for its error. Made from the schema itself, so that the two cannot drift apart.
 */
import type { z } from 'zod';
import { isArrayOf } from './plain-data.ts';

type Schema = z.core.$ZodType;
type Predicate = (value: unknown) => boolean;

/** Builds the predicate, once for a schema. Throws TypeError where the schema says something that it does not know. */
export function predicateOf(schema: Schema): Predicate {
  const { def } = (schema as z.core.$ZodTypes)._zod;
  const checks = checksOf(def);
  const fits = typePredicate(def);
  return checks.length === 0 ? fits : (value) => fits(value) && passes(checks, value);
}

function typePredicate(def: z.core.$ZodTypes['_zod']['def']): Predicate {
  switch (def.type) {
    case 'string':
      return (value) => typeof value === 'string';
    case 'number':
      return 'format' in def ? integerPredicate(String(def.format)) : (value) => Number.isFinite(value);
    case 'boolean':
      return (value) => typeof value === 'boolean';
    case 'literal':
      return oneOf(def.values);
    case 'enum':
      return oneOf(Object.values(def.entries));
    case 'custom':
      return def.fn as Predicate;
    case 'unknown':
      return () => true;
    case 'optional':
    case 'default':
      return orElse(predicateOf(def.innerType), undefined);
    case 'nullable':
      return orElse(predicateOf(def.innerType), null);
    case 'array': {
      const element = predicateOf(def.element);
      return (value) => isArrayOf(value, element);
    }
    case 'record': {
      const fits = predicateOf(def.valueType);
      return (value) => isObject(value) && Object.values(value).every((one) => fits(one));
    }
    case 'object':
      return objectPredicate(def.shape);
    case 'union':
      return unionPredicate(def.options, 'discriminator' in def ? String(def.discriminator) : undefined);
    default:
      throw unknown(`type "${def.type}"`);
  }
}

function checksOf({ checks = [] }: { readonly checks?: z.core.$ZodTypeDef['checks'] }): Predicate[] {
  return checks.map((check): Predicate => {
    const { def } = (check as z.core.$ZodChecks)._zod;
    switch (def.check) {
      case 'min_length':
        return (value) => (value as string).length >= def.minimum;
      case 'max_length':
        return (value) => (value as string).length <= def.maximum;
      case 'greater_than':
        return (value) =>
          (value as z.core.util.Numeric) > def.value || (def.inclusive && value === def.value);
      case 'less_than':
        return (value) =>
          (value as z.core.util.Numeric) < def.value || (def.inclusive && value === def.value);
      default:
        throw unknown(`check "${def.check}"`);
    }
  });
}

function objectPredicate(shape: Readonly<Record<string, Schema>>): Predicate {
  const fields = Object.entries(shape).map(([key, schema]) => ({ key, fits: predicateOf(schema) }));
  return (value) => {
    if (!isObject(value)) return false;
    // Loops, not `every`: its closures, one for each object of each record, would be a sixth of what the store allocates.
    for (const field of fields) if (!field.fits(value[field.key])) return false;
    return true;
  };
}

function passes(checks: readonly Predicate[], value: unknown): boolean {
  for (const check of checks) if (!check(value)) return false;
  return true;
}

function unionPredicate(options: readonly Schema[], discriminator: string | undefined): Predicate {
  return discriminator === undefined
    ? anyOf(options.map(predicateOf))
    : byTagPredicate(options, discriminator);
}

function anyOf(fit: readonly Predicate[]): Predicate {
  return (value) => {
    for (const one of fit) if (one(value)) return true;
    return false;
  };
}

function byTagPredicate(options: readonly Schema[], discriminator: string): Predicate {
  const byTag = new Map<unknown, Predicate>();
  for (const option of options) {
    const { def } = (option as z.core.$ZodTypes)._zod;
    if (def.type !== 'object') throw unknown(`member of a union, of type "${def.type}",`);
    const tag = (def.shape[discriminator] as z.core.$ZodTypes)._zod.def;
    if (tag.type !== 'literal') throw unknown(`tag of a union, of type "${tag.type}",`);
    for (const value of tag.values) byTag.set(value, predicateOf(option));
  }
  return (value) => isObject(value) && byTag.get(value[discriminator])?.(value) === true;
}

function integerPredicate(format: string): Predicate {
  if (format !== 'safeint') throw unknown(`number format "${format}"`);
  return (value) => Number.isSafeInteger(value);
}

function oneOf(values: readonly unknown[]): Predicate {
  return (value) => values.includes(value);
}

function orElse(fits: Predicate, other: unknown): Predicate {
  return (value) => value === other || fits(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function unknown(what: string): TypeError {
  return new TypeError(`A schema with the ${what} has no predicate yet: add it to predicate.ts.`);
}
