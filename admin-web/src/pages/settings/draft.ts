/** The settings as a form holds them, and which of them were changed. */
import { CircuitBreakerSchema, RetentionSchema, SettingsSchema, UserKeysSchema, type Settings, type UserKeys } from '$gen/bridge/admin/v1/settings_pb';
import { ModelPriceSchema, type ModelPrice } from '$gen/bridge/fleet/v1/resource_pb';
import { limitsDraftOf, limitsOf, type LimitsDraft } from '$lib/limits/draft';
import { create, equals } from '@bufbuild/protobuf';

/** Prices are kept in millionths, for a million tokens: one of these is one of the other. */
const MICROS = 1_000_000;

export interface PriceDraft {
  provider: string;
  model: string;
  input: string;
  output: string;
  cacheRead: string;
  cacheWrite: string;
}

export interface SettingsDraft {
  strategy: '1' | '2';
  defaultTier: '0' | '1' | '2' | '3';
  loss: '1' | '2' | '3';
  attempts: string;
  deadline: string;
  breakerOn: boolean;
  threshold: string;
  recovery: string;
  minTokens: string;
  maxTokens: string;
  queryKey: boolean;
  stale: string;
  currency: string;
  prices: PriceDraft[];
  minuteHours: string;
  hourDays: string;
  dayDays: string;
  requestHours: string;
  requestEntries: string;
  maxKeys: string;
  userLimits: LimitsDraft;
}

export function draftOf(it: Settings): SettingsDraft {
  return {
    strategy: it.fallbackStrategy === 2 ? '2' : '1',
    defaultTier: `${it.defaultTier}`,
    loss: it.lossPolicy === 2 ? '2' : it.lossPolicy === 3 ? '3' : '1',
    attempts: `${it.maxAttempts}`,
    deadline: `${it.requestDeadline}`,
    breakerOn: it.circuitBreaker?.enabled ?? false,
    threshold: `${it.circuitBreaker?.failureThreshold ?? ''}`,
    recovery: `${it.circuitBreaker?.recoveryTimeout ?? ''}`,
    minTokens: `${it.minTokensLimit}`,
    maxTokens: `${it.maxTokensLimit}`,
    queryKey: it.allowQueryApiKey,
    stale: `${it.staleLimit}`,
    currency: it.currency,
    prices: it.prices.map(priceDraft),
    minuteHours: `${it.retention?.minuteHours ?? ''}`,
    hourDays: `${it.retention?.hourDays ?? ''}`,
    dayDays: `${it.retention?.dayDays ?? ''}`,
    requestHours: `${it.retention?.requestHours ?? ''}`,
    requestEntries: `${it.retention?.requestEntries ?? ''}`,
    maxKeys: `${it.userKeys?.maxKeys ?? ''}`,
    userLimits: limitsDraftOf(it.userKeys?.limits),
  };
}

export function settingsOf(draft: SettingsDraft, before: Settings): Settings {
  return create(SettingsSchema, {
    fallbackStrategy: Number(draft.strategy),
    defaultTier: Number(draft.defaultTier),
    lossPolicy: Number(draft.loss),
    maxAttempts: Number(draft.attempts),
    requestDeadline: Number(draft.deadline),
    circuitBreaker: create(CircuitBreakerSchema, { enabled: draft.breakerOn, failureThreshold: Number(draft.threshold), recoveryTimeout: Number(draft.recovery) }),
    minTokensLimit: Number(draft.minTokens),
    maxTokensLimit: Number(draft.maxTokens),
    allowQueryApiKey: draft.queryKey,
    staleLimit: Number(draft.stale),
    currency: draft.currency,
    prices: draft.prices.map(priceOf),
    revision: before.revision,
    ...(before.userKeys === undefined ? {} : { userKeys: userKeysOf(draft, before.userKeys) }),
    ...(before.retention === undefined ? {} : { retention: retentionOf(draft) }),
  });
}

/** What an update has to name. A caller who may not change security must not name it. */
export function changedPaths(before: Settings, after: Settings): string[] {
  return SettingsSchema.fields
    .filter(({ name }) => name !== 'revision')
    .filter((field) => !equals(SettingsSchema, create(SettingsSchema, { [field.localName]: after[field.localName as keyof Settings] }), create(SettingsSchema, { [field.localName]: before[field.localName as keyof Settings] })))
    .map(({ name }) => name);
}

function userKeysOf({ maxKeys, userLimits }: SettingsDraft, before: UserKeys): UserKeys {
  // No limits are said in two ways; what was said stays, so that nothing seems changed.
  const limits = limitsOf(userLimits) ?? (limitsOf(limitsDraftOf(before.limits)) === undefined ? before.limits : undefined);
  return create(UserKeysSchema, { ...(`${maxKeys}` === '' ? {} : { maxKeys: Number(maxKeys) }), ...(limits === undefined ? {} : { limits }) });
}

function retentionOf(draft: SettingsDraft) {
  return create(RetentionSchema, {
    minuteHours: Number(draft.minuteHours),
    hourDays: Number(draft.hourDays),
    dayDays: Number(draft.dayDays),
    requestHours: Number(draft.requestHours),
    requestEntries: Number(draft.requestEntries),
  });
}

function priceDraft(it: ModelPrice): PriceDraft {
  const amount = (micros: bigint) => `${Number(micros) / MICROS}`;
  return { provider: it.provider, model: it.model, input: amount(it.input), output: amount(it.output), cacheRead: amount(it.cacheRead), cacheWrite: amount(it.cacheCreation) };
}

function priceOf(it: PriceDraft): ModelPrice {
  const micros = (amount: string) => BigInt(Math.round(Number(amount || 0) * MICROS));
  return create(ModelPriceSchema, { provider: it.provider, model: it.model, input: micros(it.input), output: micros(it.output), cacheRead: micros(it.cacheRead), cacheCreation: micros(it.cacheWrite) });
}
