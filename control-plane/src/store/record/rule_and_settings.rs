//! Model rules, and the settings, of which there is one record.

use serde::{Deserialize, Serialize};

use super::{LimitsRecord, Persist, reason, reasons};
use crate::{
    domain::{
        LossPolicy,
        model::{self, ModelRule, RuleId, Tier},
        price::Price,
        retention::Retention,
        settings::{Breaker, Draft, FallbackStrategy, Settings},
        usage::Tokens,
        user_keys::UserKeys,
    },
    store::family::Family,
};

/// The key of the one record.
pub(in crate::store) const SETTINGS_KEY: &[u8] = b"settings";

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct ModelRuleRecord {
    id: String,
    position: u32,
    pattern: String,
    tier: Option<String>,
    provider: Option<String>,
    model: Option<String>,
}

impl Persist for ModelRule {
    type Record = ModelRuleRecord;
    const FAMILY: Family = Family::ModelRules;

    fn key(&self) -> Vec<u8> {
        self.id.as_str().as_bytes().to_vec()
    }

    fn to_record(&self) -> ModelRuleRecord {
        let Self {
            id,
            position,
            pattern: _,
            target: _,
        } = self;
        let model::Draft {
            pattern,
            tier,
            provider,
            model,
        } = self.to_draft();
        ModelRuleRecord {
            id: id.to_string(),
            position: *position,
            pattern,
            tier,
            provider,
            model,
        }
    }

    fn from_record(record: ModelRuleRecord) -> Result<Self, String> {
        let ModelRuleRecord {
            id,
            position,
            pattern,
            tier,
            provider,
            model,
        } = record;
        let (pattern, target) = model::Draft {
            pattern,
            tier,
            provider,
            model,
        }
        .check()
        .map_err(reasons)?;
        Ok(Self {
            id: RuleId::parse(&id).map_err(reason)?,
            position,
            pattern,
            target,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct SettingsRecord {
    fallback_strategy: String,
    breaker_enabled: bool,
    failure_threshold: u32,
    recovery_timeout_s: u32,
    min_tokens_limit: u32,
    max_tokens_limit: u32,
    max_attempts: u32,
    request_deadline_s: u32,
    allow_query_api_key: bool,
    /// Absent in what was written before it could be chosen: reported.
    #[serde(default)]
    loss_policy: Option<String>,
    #[serde(default)]
    default_tier: Option<String>,
    /// Absent in what was written before it could be chosen: the default.
    #[serde(default)]
    stale_limit_s: Option<u32>,
    #[serde(default)]
    prices: Vec<PriceRecord>,
    #[serde(default)]
    currency: Option<String>,
    #[serde(default)]
    retention: Option<RetentionRecord>,
    #[serde(default)]
    user_keys: Option<UserKeysRecord>,
}

#[derive(Serialize, Deserialize)]
struct UserKeysRecord {
    max_keys: u32,
    #[serde(default)]
    limits: Option<LimitsRecord>,
}

#[derive(Serialize, Deserialize)]
struct PriceRecord {
    #[serde(default)]
    provider: String,
    model: String,
    input: u64,
    output: u64,
    cache_read: u64,
    cache_creation: u64,
}

#[derive(Serialize, Deserialize)]
struct RetentionRecord {
    minute_hours: u32,
    hour_days: u32,
    day_days: u32,
    request_hours: u32,
    request_entries: u32,
}

impl PriceRecord {
    fn of(price: Price) -> Self {
        let Price {
            provider,
            model,
            rates:
                Tokens {
                    input,
                    output,
                    cache_read,
                    cache_creation,
                },
        } = price;
        Self {
            provider,
            model,
            input,
            output,
            cache_read,
            cache_creation,
        }
    }

    fn into_price(self) -> Price {
        let Self {
            provider,
            model,
            input,
            output,
            cache_read,
            cache_creation,
        } = self;
        Price {
            provider,
            model,
            rates: Tokens {
                input,
                output,
                cache_read,
                cache_creation,
            },
        }
    }
}

impl UserKeysRecord {
    fn of(user_keys: UserKeys) -> Self {
        let UserKeys { max_keys, limits } = user_keys;
        Self {
            max_keys,
            limits: LimitsRecord::of(limits),
        }
    }

    fn into_user_keys(self) -> UserKeys {
        let Self { max_keys, limits } = self;
        UserKeys {
            max_keys,
            limits: limits.map(LimitsRecord::into_draft).unwrap_or_default(),
        }
    }
}

impl RetentionRecord {
    fn of(retention: Retention) -> Self {
        let Retention {
            minute_hours,
            hour_days,
            day_days,
            request_hours,
            request_entries,
        } = retention;
        Self {
            minute_hours,
            hour_days,
            day_days,
            request_hours,
            request_entries,
        }
    }

    fn into_retention(self) -> Retention {
        let Self {
            minute_hours,
            hour_days,
            day_days,
            request_hours,
            request_entries,
        } = self;
        Retention {
            minute_hours,
            hour_days,
            day_days,
            request_hours,
            request_entries,
        }
    }
}

impl Persist for Settings {
    type Record = SettingsRecord;
    const FAMILY: Family = Family::Settings;

    fn key(&self) -> Vec<u8> {
        SETTINGS_KEY.to_vec()
    }

    fn to_record(&self) -> SettingsRecord {
        let Draft {
            fallback_strategy,
            breaker:
                Breaker {
                    enabled,
                    failure_threshold,
                    recovery_timeout_s,
                },
            min_tokens_limit,
            max_tokens_limit,
            max_attempts,
            request_deadline_s,
            allow_query_api_key,
            loss_policy,
            default_tier,
            stale_limit_s,
            prices,
            currency,
            retention,
            user_keys,
        } = self.to_draft();
        SettingsRecord {
            fallback_strategy: fallback_strategy.as_str().to_owned(),
            breaker_enabled: enabled,
            failure_threshold,
            recovery_timeout_s,
            min_tokens_limit,
            max_tokens_limit,
            max_attempts,
            request_deadline_s,
            allow_query_api_key,
            loss_policy: Some(loss_policy.as_str().to_owned()),
            default_tier: default_tier.map(|tier| tier.as_str().to_owned()),
            stale_limit_s: Some(stale_limit_s),
            prices: prices.into_iter().map(PriceRecord::of).collect(),
            currency: Some(currency),
            retention: Some(RetentionRecord::of(retention)),
            user_keys: Some(UserKeysRecord::of(user_keys)),
        }
    }

    fn from_record(record: SettingsRecord) -> Result<Self, String> {
        let SettingsRecord {
            fallback_strategy,
            breaker_enabled,
            failure_threshold,
            recovery_timeout_s,
            min_tokens_limit,
            max_tokens_limit,
            max_attempts,
            request_deadline_s,
            allow_query_api_key,
            loss_policy,
            default_tier,
            stale_limit_s,
            prices,
            currency,
            retention,
            user_keys,
        } = record;
        let defaults = Draft::default();
        let draft = Draft {
            fallback_strategy: FallbackStrategy::parse(&fallback_strategy).map_err(reason)?,
            breaker: Breaker {
                enabled: breaker_enabled,
                failure_threshold,
                recovery_timeout_s,
            },
            min_tokens_limit,
            max_tokens_limit,
            max_attempts,
            request_deadline_s,
            allow_query_api_key,
            loss_policy: loss_policy.map_or(Ok(LossPolicy::Report), |policy| {
                LossPolicy::parse(&policy).map_err(reason)
            })?,
            default_tier: default_tier
                .map(|tier| Tier::parse(&tier).map_err(reason))
                .transpose()?,
            stale_limit_s: stale_limit_s.unwrap_or(defaults.stale_limit_s),
            prices: prices.into_iter().map(PriceRecord::into_price).collect(),
            currency: currency.unwrap_or(defaults.currency),
            retention: retention.map_or(defaults.retention, RetentionRecord::into_retention),
            user_keys: user_keys.map_or(defaults.user_keys, UserKeysRecord::into_user_keys),
        };
        draft.check().map_err(reasons)
    }
}
