//! What the file says about settings.

use super::{limits, object::Object, variables::Variables};
use crate::domain::{
    FieldViolation, Invalid, LossPolicy, Violations,
    limits::Draft as LimitsDraft,
    model::Tier,
    price::Price,
    retention::Retention,
    settings::{Breaker, Draft, FallbackStrategy, Settings},
    usage::Tokens,
    user_keys::UserKeys,
};

const BREAKER: &str = "circuit_breaker";
const PRICES: &str = "prices";
const RETENTION: &str = "retention";
const USER_KEYS: &str = "user_keys";

/// Settings that the file names; the rest stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportedSettings {
    fallback_strategy: Option<FallbackStrategy>,
    breaker_enabled: Option<bool>,
    failure_threshold: Option<u32>,
    recovery_timeout_s: Option<u32>,
    loss_policy: Option<LossPolicy>,
    /// Empty in the file: none.
    default_tier: Option<Option<Tier>>,
    min_tokens_limit: Option<u32>,
    max_tokens_limit: Option<u32>,
    max_attempts: Option<u32>,
    request_deadline_s: Option<u32>,
    stale_limit_s: Option<u32>,
    allow_query_api_key: Option<bool>,
    retention: ImportedRetention,
    user_keys: ImportedUserKeys,
    prices: Option<Vec<Price>>,
    currency: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ImportedRetention {
    minute_hours: Option<u32>,
    hour_days: Option<u32>,
    day_days: Option<u32>,
    request_hours: Option<u32>,
    request_entries: Option<u32>,
}

impl ImportedRetention {
    fn read(file: &mut Object, violations: &mut Violations, unknown: &mut Vec<String>) -> Self {
        let value = file.take(RETENTION);
        let object = value.and_then(|value| Object::of(RETENTION.to_owned(), value, violations));
        let Some(mut object) = object else {
            return Self::default();
        };
        let retention = Self {
            minute_hours: object.integer("minute_hours", violations),
            hour_days: object.integer("hour_days", violations),
            day_days: object.integer("day_days", violations),
            request_hours: object.integer("request_hours", violations),
            request_entries: object.integer("request_entries", violations),
        };
        unknown.extend(object.into_unknown());
        retention
    }

    fn on(self, base: Retention) -> Retention {
        let Self {
            minute_hours,
            hour_days,
            day_days,
            request_hours,
            request_entries,
        } = self;
        Retention {
            minute_hours: minute_hours.unwrap_or(base.minute_hours),
            hour_days: hour_days.unwrap_or(base.hour_days),
            day_days: day_days.unwrap_or(base.day_days),
            request_hours: request_hours.unwrap_or(base.request_hours),
            request_entries: request_entries.unwrap_or(base.request_entries),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ImportedUserKeys {
    max_keys: Option<u32>,
    limits: Option<LimitsDraft>,
}

impl ImportedUserKeys {
    fn read(file: &mut Object, violations: &mut Violations, unknown: &mut Vec<String>) -> Self {
        let value = file.take(USER_KEYS);
        let object = value.and_then(|value| Object::of(USER_KEYS.to_owned(), value, violations));
        let Some(mut object) = object else {
            return Self::default();
        };
        let user_keys = Self {
            max_keys: object.integer("max_keys", violations),
            limits: limits::read(&mut object, violations, unknown),
        };
        unknown.extend(object.into_unknown());
        user_keys
    }

    fn on(self, base: UserKeys) -> UserKeys {
        let Self { max_keys, limits } = self;
        UserKeys {
            max_keys: max_keys.unwrap_or(base.max_keys),
            limits: limits.unwrap_or(base.limits),
        }
    }
}

impl ImportedSettings {
    /// Takes the settings out of the file; paths of fields that nobody knows are added
    /// to `unknown`.
    pub(super) fn read(
        file: &mut Object,
        variables: &mut Variables<'_>,
        violations: &mut Violations,
        unknown: &mut Vec<String>,
    ) -> Self {
        let mut settings = Self {
            fallback_strategy: word(
                "fallback_strategy",
                FallbackStrategy::parse,
                file,
                variables,
                violations,
            ),
            loss_policy: word("loss_policy", LossPolicy::parse, file, variables, violations),
            default_tier: word("default_tier", tier, file, variables, violations),
            min_tokens_limit: file.integer("min_tokens_limit", violations),
            max_tokens_limit: file.integer("max_tokens_limit", violations),
            max_attempts: file.integer("max_attempts", violations),
            request_deadline_s: file.integer("request_deadline", violations),
            stale_limit_s: file.integer("stale_limit", violations),
            allow_query_api_key: file.boolean("allow_query_api_key", violations),
            retention: ImportedRetention::read(file, violations, unknown),
            user_keys: ImportedUserKeys::read(file, violations, unknown),
            prices: prices(file, variables, violations, unknown),
            currency: text("currency", file, variables, violations),
            ..Self::default()
        };
        let breaker = file.take(BREAKER);
        let breaker = breaker.and_then(|value| Object::of(BREAKER.to_owned(), value, violations));
        if let Some(mut breaker) = breaker {
            settings.breaker_enabled = breaker.boolean("enabled", violations);
            settings.failure_threshold = breaker.integer("failure_threshold", violations);
            settings.recovery_timeout_s = breaker.integer("recovery_timeout", violations);
            unknown.extend(breaker.into_unknown());
        }
        settings
    }

    /// The settings, as the file changes them.
    pub fn on(self, base: &Settings) -> Result<Settings, Vec<FieldViolation>> {
        let Self {
            fallback_strategy,
            breaker_enabled,
            failure_threshold,
            recovery_timeout_s,
            loss_policy,
            default_tier,
            min_tokens_limit,
            max_tokens_limit,
            max_attempts,
            request_deadline_s,
            stale_limit_s,
            allow_query_api_key,
            retention,
            user_keys,
            prices,
            currency,
        } = self;
        let base = base.to_draft();
        Draft {
            fallback_strategy: fallback_strategy.unwrap_or(base.fallback_strategy),
            breaker: Breaker {
                enabled: breaker_enabled.unwrap_or(base.breaker.enabled),
                failure_threshold: failure_threshold.unwrap_or(base.breaker.failure_threshold),
                recovery_timeout_s: recovery_timeout_s.unwrap_or(base.breaker.recovery_timeout_s),
            },
            loss_policy: loss_policy.unwrap_or(base.loss_policy),
            default_tier: default_tier.unwrap_or(base.default_tier),
            min_tokens_limit: min_tokens_limit.unwrap_or(base.min_tokens_limit),
            max_tokens_limit: max_tokens_limit.unwrap_or(base.max_tokens_limit),
            max_attempts: max_attempts.unwrap_or(base.max_attempts),
            request_deadline_s: request_deadline_s.unwrap_or(base.request_deadline_s),
            stale_limit_s: stale_limit_s.unwrap_or(base.stale_limit_s),
            allow_query_api_key: allow_query_api_key.unwrap_or(base.allow_query_api_key),
            retention: retention.on(base.retention),
            user_keys: user_keys.on(base.user_keys),
            prices: prices.unwrap_or(base.prices),
            currency: currency.unwrap_or(base.currency),
        }
        .check()
    }
}

/// `None`: the file says nothing of prices.
fn prices(
    file: &mut Object,
    variables: &mut Variables<'_>,
    violations: &mut Violations,
    unknown: &mut Vec<String>,
) -> Option<Vec<Price>> {
    file.names().contains(&PRICES.to_owned()).then(|| {
        let items = file.list(PRICES, violations).into_iter().enumerate();
        let rows =
            items.filter_map(|(index, item)| Object::of(format!("{PRICES}[{index}]"), item, violations));
        let rows: Vec<Object> = rows.collect();
        rows.into_iter()
            .map(|mut row| {
                let price = Price {
                    provider: text("provider", &mut row, variables, violations).unwrap_or_default(),
                    model: text("model", &mut row, variables, violations).unwrap_or_default(),
                    rates: Tokens {
                        input: row.integer("input", violations).unwrap_or_default(),
                        output: row.integer("output", violations).unwrap_or_default(),
                        cache_read: row.integer("cache_read", violations).unwrap_or_default(),
                        cache_creation: row.integer("cache_creation", violations).unwrap_or_default(),
                    },
                };
                unknown.extend(row.into_unknown());
                price
            })
            .collect()
    })
}

fn tier(text: &str) -> Result<Option<Tier>, Invalid> {
    match text {
        "" => Ok(None),
        _ => Tier::parse(text).map(Some),
    }
}

fn text(
    name: &str,
    object: &mut Object,
    variables: &mut Variables<'_>,
    violations: &mut Violations,
) -> Option<String> {
    let text = object.text(name, violations)?;
    Some(variables.resolve(&text))
}

fn word<T>(
    name: &str,
    parse: impl Fn(&str) -> Result<T, Invalid>,
    file: &mut Object,
    variables: &mut Variables<'_>,
    violations: &mut Violations,
) -> Option<T> {
    let text = text(name, file, variables, violations)?;
    violations.check(name, parse(&text))
}
