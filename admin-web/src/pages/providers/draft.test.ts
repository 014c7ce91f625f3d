import { ProviderSchema } from '$gen/bridge/admin/v1/provider_pb';
import { DialectSchema } from '$gen/bridge/fleet/v1/dialect_pb';
import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { draftOf, isOtherOrigin, providerOf, secretsOf } from './draft';
import { KNOBS, knobsOf, overridesOf } from './knobs';

describe('a provider in a form', () => {
  it('comes back as it was', () => {
    const provider = create(ProviderSchema, {
      name: 'qwen',
      enabled: true,
      priority: -3,
      apiFormat: 1,
      baseUrl: 'https://a.example/v1',
      models: { big: ['b', 'a'], middle: [], small: ['c'] },
      timeout: 60,
      maxRetries: 0,
      dialect: 'qwen',
      modelOptions: [{ model: 'a', contextWindow: 1000, dialectOverrides: { vision: false } }],
      dialectOverrides: { vision: true },
    });
    expect(providerOf(draftOf(provider), provider)).toEqual(provider);
  });

  it('keeps a guessed dialect a guess', () => {
    const provider = create(ProviderSchema, { name: 'a', dialect: 'vllm', isDialectGuessed: true });
    expect(providerOf(draftOf(provider), provider).dialect).toBe('');
  });

  it('takes models along that are typed and not yet on the list', () => {
    const draft = draftOf();
    draft.models.big = ['a'];
    draft.typed.big = ' b, a c';
    expect(providerOf(draft).models?.big).toEqual(['a', 'b', 'c']);
  });

  it('sends no header without a name', () => {
    const draft = { ...draftOf(), apiKey: 'k', headers: [{ name: ' x-a ', value: '1' }, { name: '', value: '2' }] };
    expect(secretsOf(draft).customHeaders).toEqual({ 'x-a': '1' });
  });
});

describe('secrets belong to an origin', () => {
  it.each([
    ['https://a.example/v1', 'https://a.example/v2', false],
    ['https://a.example/v1', 'http://a.example/v1', true],
    ['https://a.example/v1', 'https://a.example:8443/v1', true],
    ['https://a.example/v1', 'https://b.example/v1', true],
    ['https://a.example/v1', 'not yet typed', false],
  ])('%s → %s', (before, after, expected) => expect(isOtherOrigin(before, after)).toBe(expected));
});

describe('knobs', () => {
  it('are all that the contract has, and come back as they were', () => {
    expect(KNOBS.size).toBe(DialectSchema.fields.length);
    const dialect = create(DialectSchema, { vision: false, finishGraceMs: 5000 });
    expect(overridesOf(knobsOf(dialect))).toEqual(dialect);
    expect(overridesOf([])).toBeUndefined();
  });
});
