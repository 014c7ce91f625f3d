/** A provider as a form holds it. */
import { ApiFormat, ModelOptionsSchema, ProviderSchema, ProviderSecretsSchema, TierModelsSchema, type Provider, type ProviderSecrets } from '$gen/bridge/admin/v1/provider_pb';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { knobsOf, overridesOf, type Knob } from './knobs';

export const TIERS = ['big', 'middle', 'small'] as const;
export type Tier = (typeof TIERS)[number];

export interface OptionDraft {
  model: string;
  contextWindow: string;
  maxOutput: string;
}

export interface ProviderDraft {
  name: string;
  enabled: boolean;
  priority: string;
  format: '1' | '2';
  baseUrl: string;
  /** Empty: guessed. */
  dialect: string;
  models: Record<Tier, string[]>;
  /** Typed and not yet on a list: whoever saves means it too. */
  typed: Record<Tier, string>;
  timeout: string;
  retries: string;
  maxTokens: string;
  knobs: Knob[];
  options: OptionDraft[];
  apiKey: string;
  headers: { name: string; value: string }[];
}

export function draftOf(provider?: Provider): ProviderDraft {
  return {
    name: provider?.name ?? '',
    enabled: provider?.enabled ?? true,
    priority: `${provider?.priority ?? 1}`,
    format: provider?.apiFormat === ApiFormat.ANTHROPIC ? '2' : '1',
    baseUrl: provider?.baseUrl ?? '',
    dialect: provider === undefined || provider.isDialectGuessed ? '' : provider.dialect,
    models: { big: [...(provider?.models?.big ?? [])], middle: [...(provider?.models?.middle ?? [])], small: [...(provider?.models?.small ?? [])] },
    typed: { big: '', middle: '', small: '' },
    timeout: `${provider?.timeout ?? 0}`,
    retries: text(provider?.maxRetries),
    maxTokens: text(provider?.maxTokensLimit),
    knobs: knobsOf(provider?.dialectOverrides),
    options: (provider?.modelOptions ?? []).map((it) => ({ model: it.model, contextWindow: text(it.contextWindow), maxOutput: text(it.maxOutputTokens) })),
    apiKey: '',
    headers: [],
  };
}

/** What is asked of the server; `before` keeps what the form does not show. */
export function providerOf(draft: ProviderDraft, before?: Provider): Provider {
  const optional: MessageInitShape<typeof ProviderSchema> = {};
  if (filled(draft.retries)) optional.maxRetries = Number(draft.retries);
  if (filled(draft.maxTokens)) optional.maxTokensLimit = Number(draft.maxTokens);
  const overrides = overridesOf(draft.knobs);
  if (overrides !== undefined) optional.dialectOverrides = overrides;
  return create(ProviderSchema, {
    name: draft.name.trim(),
    enabled: draft.enabled,
    priority: Number(draft.priority),
    apiFormat: Number(draft.format),
    baseUrl: draft.baseUrl.trim(),
    dialect: draft.dialect,
    models: create(TierModelsSchema, { big: modelsOf(draft, 'big'), middle: modelsOf(draft, 'middle'), small: modelsOf(draft, 'small') }),
    timeout: Number(draft.timeout),
    modelOptions: draft.options.filter((it) => it.model.trim() !== '').map((it) => optionOf(it, before)),
    ...optional,
  });
}

/** A tier's models, with what is still in its input. */
export function modelsOf({ models, typed }: ProviderDraft, tier: Tier): string[] {
  return [...new Set([...models[tier], ...typed[tier].split(/[\s,]+/).filter((it) => it !== '')])];
}

export function secretsOf({ apiKey, headers }: ProviderDraft): ProviderSecrets {
  const named = headers.filter((it) => it.name.trim() !== '').map((it): [string, string] => [it.name.trim(), it.value]);
  return create(ProviderSecretsSchema, { apiKey, customHeaders: Object.fromEntries(named) });
}

/** Whether secrets that were entered for one address would go to another server. */
export function isOtherOrigin(before: string, after: string): boolean {
  try {
    return new URL(before).origin !== new URL(after.trim()).origin;
  } catch {
    return false;
  }
}

function optionOf({ model, contextWindow, maxOutput }: OptionDraft, before?: Provider) {
  const overrides = before?.modelOptions.find((it) => it.model === model)?.dialectOverrides;
  return create(ModelOptionsSchema, {
    model: model.trim(),
    ...(filled(contextWindow) ? { contextWindow: Number(contextWindow) } : {}),
    ...(filled(maxOutput) ? { maxOutputTokens: Number(maxOutput) } : {}),
    ...(overrides ? { dialectOverrides: overrides } : {}),
  });
}

function text(value: number | undefined): string {
  return value === undefined ? '' : `${value}`;
}

function filled(value: string | number | null | undefined): boolean {
  return value !== undefined && value !== null && `${value}`.trim() !== '';
}
