/** What a field of the contract is called on the screen: a toast and a form name it alike, in the reader's language. */
import type { Dictionary } from '$lib/i18n/en';
import { t } from '$lib/i18n/index.svelte';

type Label = (texts: Dictionary) => string;

/** By the end of its path. Where two things have a field of the same name, the longer end wins. */
export const LABELS: Readonly<Record<string, Label>> = {
  allow_query_api_key: (it) => it.settings.queryKey,
  allowed_models: (it) => it.keys.allowedModels,
  allowed_providers: (it) => it.keys.allowedProviders,
  api_format: (it) => it.providers.format,
  'secrets.api_key': (it) => it.providers.apiKey,
  base_url: (it) => it.providers.baseUrl,
  'models.big': (it) => `${it.providers.models}, ${it.providers.tiers.big}`,
  'models.middle': (it) => `${it.providers.models}, ${it.providers.tiers.middle}`,
  'models.small': (it) => `${it.providers.models}, ${it.providers.tiers.small}`,
  models: (it) => it.providers.models,
  budgets: (it) => it.keys.budgets,
  'budgets.amount': (it) => it.keys.budgetAmount,
  'budgets.cost_micros': (it) => it.keys.budgetMoney,
  'budgets.period': (it) => it.keys.budgetPeriod,
  'budgets.tokens': (it) => it.keys.budgetTokens,
  cache_creation: (it) => it.settings.cacheWrite,
  cache_read: (it) => it.settings.cacheRead,
  'circuit_breaker.enabled': (it) => it.settings.breakerOn,
  concurrent_requests: (it) => it.keys.concurrent,
  context_window: (it) => it.providers.contextWindow,
  currency: (it) => it.settings.currency,
  current_password: (it) => it.password.current,
  custom_headers: (it) => it.providers.headers,
  day_days: (it) => it.settings.dayDays,
  default_tier: (it) => it.settings.defaultTier,
  dialect: (it) => it.providers.dialect,
  dialect_overrides: (it) => it.providers.knobs,
  email: (it) => it.keys.email,
  enabled: (it) => it.common.enabled,
  expires_at: (it) => it.keys.expires,
  failure_threshold: (it) => it.settings.threshold,
  fallback_strategy: (it) => it.settings.strategy,
  hour_days: (it) => it.settings.hourDays,
  input: (it) => it.settings.input,
  lifetime: (it) => it.fleet.overrideFor,
  limits: (it) => it.keys.limits,
  loss_policy: (it) => it.settings.loss,
  match: (it) => it.models.match,
  max_attempts: (it) => it.settings.attempts,
  max_keys: (it) => it.settings.maxKeys,
  max_output_tokens: (it) => it.providers.maxOutput,
  max_retries: (it) => it.providers.retries,
  'provider.max_tokens_limit': (it) => it.providers.maxTokens,
  'settings.max_tokens_limit': (it) => it.settings.maxTokens,
  min_tokens_limit: (it) => it.settings.minTokens,
  minute_hours: (it) => it.settings.minuteHours,
  model: (it) => it.models.model,
  model_options: (it) => it.providers.options,
  name: (it) => it.common.name,
  'user.name': (it) => it.users.name,
  new_password: (it) => it.password.new,
  node_id: (it) => it.fleet.joinName,
  output: (it) => it.settings.output,
  overlap: (it) => it.keys.overlap,
  owner_user_id: (it) => it.keys.owner,
  password: (it) => it.users.password,
  position: (it) => it.models.position,
  prices: (it) => it.settings.prices,
  priority: (it) => it.providers.priority,
  provider: (it) => it.models.provider,
  reason: (it) => it.fleet.overrideReason,
  recovery_timeout: (it) => it.settings.recovery,
  request_deadline: (it) => it.settings.deadline,
  request_entries: (it) => it.settings.requestEntries,
  request_hours: (it) => it.settings.requestHours,
  requests_per_minute: (it) => it.keys.requestsPerMinute,
  role: (it) => it.users.role,
  scopes: (it) => it.tokens.scopes,
  stale_limit: (it) => it.settings.stale,
  state: (it) => it.fleet.overrideState,
  target: (it) => it.models.leadsTo,
  tier: (it) => it.models.tier,
  'provider.timeout': (it) => it.providers.timeout,
  tokens_per_minute: (it) => it.keys.tokensPerMinute,
};

/** A name, and the place in a list: `budgets[2]`. */
const SEGMENT = /^([^[]*)(?:\[(\d+)\])?/;

/**
 * The label of a path such as `settings.prices[1].model`: of what it ends in, after the lists on the
 * way with the place in each. What somebody else has named, as a header, follows as it is; a path of
 * which nothing is known stays itself.
 */
export function fieldName(path: string): string {
  const names: string[] = [];
  const lists: string[] = [];
  let last: string[] = [];
  for (const segment of path.split('.')) {
    const [, name = '', place] = SEGMENT.exec(segment) ?? [];
    names.push(name);
    const label = labelOf(names);
    if (label === undefined) {
      if (last.length > 0) last.push(segment);
    } else if (place === undefined) {
      last = [label];
    } else {
      lists.push(`${label} #${Number(place) + 1}`);
      last = [];
    }
  }
  const told = [...lists, ...last];
  return told.length === 0 ? path : told.join(' ');
}

function labelOf(names: readonly string[]): string | undefined {
  for (const start of names.keys()) {
    const end = names.slice(start).join('.');
    const label = Object.hasOwn(LABELS, end) ? LABELS[end] : undefined;
    if (label !== undefined) return label(t());
  }
  return undefined;
}
