//! Reads model rules, settings and breaker overrides.

use std::time::Duration;

use bridge_proto::fleet::v1 as proto;

use super::limits::price;
use super::value::{duration, instant, loss_policy};
use crate::snapshot::{
    AttemptLimits, BreakerOverride, BreakerSettings, Fallback, Held, LossPolicy, ModelRule, RuleTarget,
    Settings, Tier, TokenLimits,
};

const KEEP_ASKED_NAME: &str = "*";
const MAX_ATTEMPTS_DEFAULT: u32 = 4;
/// No setting may make one request cost more calls than this.
const MAX_ATTEMPTS_LIMIT: u32 = 32;
const DEADLINE_DEFAULT: Duration = Duration::from_secs(600);
const FAILURE_THRESHOLD_DEFAULT: u32 = 5;
const RECOVERY_DEFAULT: Duration = Duration::from_secs(60);

pub(super) fn model_rule(message: proto::ModelRule) -> Result<ModelRule, String> {
    let proto::ModelRule {
        id,
        position,
        r#match,
        target,
    } = message;
    if r#match.trim().is_empty() {
        return Err("the pattern is empty".into());
    }
    let target = match target {
        Some(proto::model_rule::Target::Tier(value)) => {
            tier(value).map_or(RuleTarget::Unknown, RuleTarget::Tier)
        }
        Some(proto::model_rule::Target::Upstream(proto::UpstreamModel { provider, model })) => {
            RuleTarget::Upstream {
                provider: provider.into(),
                model: (model != KEEP_ASKED_NAME).then(|| model.into()),
            }
        }
        None => RuleTarget::Unknown,
    };
    Ok(ModelRule {
        id: id.into(),
        position,
        pattern: r#match,
        target,
    })
}

fn tier(value: i32) -> Option<Tier> {
    match proto::Tier::try_from(value) {
        Ok(proto::Tier::Small) => Some(Tier::Small),
        Ok(proto::Tier::Middle) => Some(Tier::Middle),
        Ok(proto::Tier::Big) => Some(Tier::Big),
        Ok(proto::Tier::Unspecified) | Err(_) => None,
    }
}

pub(super) fn settings(message: proto::Settings) -> Result<Settings, String> {
    let fallback = match message.fallback_strategy() {
        proto::FallbackStrategy::Random => Fallback::Random,
        proto::FallbackStrategy::Priority | proto::FallbackStrategy::Unspecified => Fallback::Priority,
    };
    let proto::Settings {
        fallback_strategy: _,
        breaker,
        min_tokens_limit,
        max_tokens_limit,
        max_attempts,
        request_deadline,
        loss_policy: losses,
        allow_query_api_key,
        stale_limit,
        default_tier,
        prices,
        // For people.
        currency: _,
    } = message;
    // Zero is a field that was never set, not a wish to refuse every token.
    let max = if max_tokens_limit == 0 {
        u32::MAX
    } else {
        max_tokens_limit
    };
    if min_tokens_limit > max {
        return Err(format!(
            "the lower token limit {min_tokens_limit} is above the upper one {max}"
        ));
    }
    Ok(Settings {
        fallback,
        breaker: breaker_settings(breaker)?,
        tokens: TokenLimits {
            min: min_tokens_limit,
            max,
        },
        attempts: AttemptLimits {
            max_attempts: match max_attempts {
                0 => MAX_ATTEMPTS_DEFAULT,
                attempts => attempts.min(MAX_ATTEMPTS_LIMIT),
            },
            deadline: duration(request_deadline)?.unwrap_or(DEADLINE_DEFAULT),
        },
        loss_policy: loss_policy(losses).unwrap_or(LossPolicy::Report),
        allow_query_api_key,
        stale_limit: duration(stale_limit)?,
        default_tier: tier(default_tier),
        prices: prices.into_iter().map(price).collect(),
    })
}

fn breaker_settings(message: Option<proto::BreakerSettings>) -> Result<BreakerSettings, String> {
    let Some(proto::BreakerSettings {
        enabled,
        failure_threshold,
        recovery_timeout,
    }) = message
    else {
        return Ok(BreakerSettings {
            enabled: true,
            failure_threshold: FAILURE_THRESHOLD_DEFAULT,
            recovery_timeout: RECOVERY_DEFAULT,
        });
    };
    Ok(BreakerSettings {
        enabled,
        failure_threshold: if failure_threshold == 0 {
            FAILURE_THRESHOLD_DEFAULT
        } else {
            failure_threshold
        },
        recovery_timeout: duration(recovery_timeout)?.unwrap_or(RECOVERY_DEFAULT),
    })
}

pub(super) fn breaker_override(message: proto::BreakerOverride) -> Result<BreakerOverride, String> {
    // A state that this build does not know is read as the one that calls nobody.
    let held = match message.state() {
        proto::BreakerState::Closed => Held::Closed,
        proto::BreakerState::Open | proto::BreakerState::HalfOpen | proto::BreakerState::Unspecified => {
            Held::Open
        }
    };
    let proto::BreakerOverride {
        id: _,
        provider,
        model,
        state: _,
        expires_at,
    } = message;
    Ok(BreakerOverride {
        provider,
        model: (!model.is_empty()).then_some(model),
        held,
        expires_at: expires_at.map(instant).transpose()?,
    })
}
