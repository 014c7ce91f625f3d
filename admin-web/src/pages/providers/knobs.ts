/** Knobs of a dialect as names and texts; which there are, and of what kind, the contract says. */
import { DialectSchema, type Dialect } from '$gen/bridge/fleet/v1/dialect_pb';
import { create, fromJson, ScalarType, toJson, type DescField, type JsonObject, type JsonValue } from '@bufbuild/protobuf';

export interface Knob {
  name: string;
  value: string;
}

export type KnobKind = 'boolean' | 'number' | 'text' | 'list';

export const KNOBS: ReadonlyMap<string, KnobKind> = new Map(DialectSchema.fields.map((field) => [field.name, kindOf(field)]));

export function knobsOf(dialect: Dialect | undefined): Knob[] {
  if (dialect === undefined) return [];
  const json = toJson(DialectSchema, dialect, { useProtoFieldName: true });
  if (json === null || typeof json !== 'object' || Array.isArray(json)) return [];
  return Object.entries(json).map(([name, value]) => ({ name, value: Array.isArray(value) ? value.join(', ') : `${value}` }));
}

export function overridesOf(knobs: readonly Knob[]): Dialect | undefined {
  const json: JsonObject = {};
  for (const { name, value } of knobs) {
    const kind = KNOBS.get(name);
    if (kind !== undefined) json[name] = valueOf(kind, value);
  }
  return Object.keys(json).length === 0 ? undefined : fromJson(DialectSchema, json, { ignoreUnknownFields: true });
}

/** Nothing set: what an update sends so that the preset holds again. */
export function noOverrides(): Dialect {
  return create(DialectSchema);
}

function valueOf(kind: KnobKind, value: string): JsonValue {
  switch (kind) {
    case 'boolean':
      return value === 'true';
    case 'number':
      return Number(value);
    case 'list':
      return value.split(/[\s,]+/).filter((it) => it !== '');
    case 'text':
      return value;
  }
}

function kindOf(field: DescField): KnobKind {
  if (field.fieldKind === 'list') return 'list';
  if (field.fieldKind !== 'scalar') return 'text';
  switch (field.scalar) {
    case ScalarType.BOOL:
      return 'boolean';
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return 'text';
    default:
      return 'number';
  }
}
