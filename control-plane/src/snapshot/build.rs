//! From what is stored to what data planes are sent: one resource per thing.
//!
//! Pure: secrets come in already opened. A thing that data planes must not know of,
//! such as a disabled key, has no resource.

use std::time::SystemTime;

use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::resource::Kind;
use secrecy::ExposeSecret;

use crate::domain::LossPolicy;
use crate::domain::api_key::{self, ApiKey};
use crate::domain::breaker_override::{self, BreakerOverride, Held};
use crate::domain::model::{ModelRule, Target, Tier};
use crate::domain::provider::{self, ApiFormat, PlainSecrets, Provider};
use crate::domain::settings::{self, FallbackStrategy, Settings};
use crate::snapshot::dialect;
use crate::snapshot::index::Key;
use crate::snapshot::limits;
use crate::store::Stored;

pub(crate) fn provider_key(name: &str) -> Key {
    Key {
        kind: fleet::ResourceKind::Provider,
        id: name.to_owned(),
    }
}

pub(crate) fn api_key_key(id: &str) -> Key {
    Key {
        kind: fleet::ResourceKind::ApiKey,
        id: id.to_owned(),
    }
}

pub(crate) fn model_rule_key(id: &str) -> Key {
    Key {
        kind: fleet::ResourceKind::ModelRule,
        id: id.to_owned(),
    }
}

pub(crate) fn breaker_override_key(id: &str) -> Key {
    Key {
        kind: fleet::ResourceKind::BreakerOverride,
        id: id.to_owned(),
    }
}

pub(crate) fn settings_key() -> Key {
    Key {
        kind: fleet::ResourceKind::Settings,
        id: String::new(),
    }
}

/// `None` if the provider is disabled.
pub(crate) fn provider(stored: &Stored<Provider>, secrets: &PlainSecrets) -> Option<fleet::Resource> {
    let Stored {
        value: Provider {
            spec,
            credentials: _,
            times: _,
        },
        revision,
    } = stored;
    let provider::Spec {
        name,
        enabled,
        priority,
        endpoint,
        dialect_overrides,
        models: provider::Models { by_tier, options },
        limits,
    } = spec;
    let provider::Limits {
        timeout_s,
        max_retries,
        max_tokens_limit,
    } = *limits;
    let PlainSecrets {
        api_key,
        custom_headers,
    } = secrets;
    let headers = custom_headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.expose_secret().to_owned()))
        .collect();
    let provider = fleet::Provider {
        name: name.as_str().to_owned(),
        priority: *priority,
        api_format: api_format(endpoint.api_format).into(),
        base_url: endpoint.base_url.as_str().to_owned(),
        api_key: api_key
            .as_ref()
            .map(|key| key.expose_secret().to_owned())
            .unwrap_or_default(),
        custom_headers: headers,
        timeout: (timeout_s > 0).then(|| seconds(timeout_s)),
        max_retries,
        models: Some(tier_models(by_tier)),
        max_tokens_limit,
        dialect: endpoint.dialect().as_str().to_owned(),
        dialect_overrides: dialect::to_proto(dialect_overrides),
        model_options: options.iter().map(model_options).collect(),
        revision: *revision,
    };
    enabled.then_some(fleet::Resource {
        kind: Some(Kind::Provider(provider)),
    })
}

/// `None` if the key is disabled: what is not in the snapshot does not exist.
pub(crate) fn api_key(key: &ApiKey) -> Option<fleet::Resource> {
    let ApiKey {
        id,
        hash,
        spec,
        disabled_by: _,
        successor: _,
        times: _,
    } = key;
    let api_key::Spec {
        name,
        email: _,
        owner,
        enabled,
        expires_at,
        scope,
        loss_policy,
        limits,
    } = spec;
    let api_key::Scope {
        allowed_models,
        allowed_providers,
    } = scope;
    let key = fleet::ApiKey {
        id: id.as_str().to_owned(),
        hash_algorithm: fleet::KeyHashAlgorithm::Sha256V1.into(),
        hash: hash.as_bytes().to_vec(),
        name: name.as_str().to_owned(),
        owner_user_id: owner.to_string(),
        expires_at: expires_at.map(SystemTime::into),
        allowed_models: allowed_models
            .iter()
            .map(|model| model.as_str().to_owned())
            .collect(),
        allowed_providers: allowed_providers
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect(),
        loss_policy: loss_policy
            .map_or(fleet::LossPolicy::Unspecified, self::loss_policy)
            .into(),
        limits: limits::limits(limits),
    };
    enabled.then_some(fleet::Resource {
        kind: Some(Kind::ApiKey(key)),
    })
}

pub(crate) fn model_rule(rule: &ModelRule) -> fleet::Resource {
    let ModelRule {
        id,
        position,
        pattern,
        target,
    } = rule;
    let target = match target {
        Target::Tier(tier) => fleet::model_rule::Target::Tier(self::tier(*tier).into()),
        Target::Upstream { provider, model } => fleet::model_rule::Target::Upstream(fleet::UpstreamModel {
            provider: provider.as_str().to_owned(),
            model: model.as_str().to_owned(),
        }),
    };
    let rule = fleet::ModelRule {
        id: id.as_str().to_owned(),
        position: *position,
        r#match: pattern.as_str().to_owned(),
        target: Some(target),
    };
    fleet::Resource {
        kind: Some(Kind::ModelRule(rule)),
    }
}

pub(crate) fn settings(settings: &Settings) -> fleet::Resource {
    let settings::Draft {
        fallback_strategy,
        breaker,
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
        // Kept here alone.
        retention: _,
        user_keys: _,
    } = settings.to_draft();
    let settings::Breaker {
        enabled,
        failure_threshold,
        recovery_timeout_s,
    } = breaker;
    let settings = fleet::Settings {
        fallback_strategy: match fallback_strategy {
            FallbackStrategy::Priority => fleet::FallbackStrategy::Priority,
            FallbackStrategy::Random => fleet::FallbackStrategy::Random,
        }
        .into(),
        breaker: Some(fleet::BreakerSettings {
            enabled,
            failure_threshold,
            recovery_timeout: Some(seconds(recovery_timeout_s)),
        }),
        min_tokens_limit,
        max_tokens_limit,
        max_attempts,
        request_deadline: Some(seconds(request_deadline_s)),
        loss_policy: self::loss_policy(loss_policy).into(),
        allow_query_api_key,
        stale_limit: Some(seconds(stale_limit_s)),
        default_tier: default_tier.map_or(fleet::Tier::Unspecified, tier).into(),
        prices: prices.into_iter().map(limits::price).collect(),
        currency,
    };
    fleet::Resource {
        kind: Some(Kind::Settings(settings)),
    }
}

pub(crate) fn breaker_override(held: &BreakerOverride) -> fleet::Resource {
    let BreakerOverride {
        id,
        maker: _,
        spec:
            breaker_override::Spec {
                provider,
                model,
                held,
                expires_at,
                reason: _,
            },
        created_at: _,
    } = held;
    let state = match held {
        Held::Open => fleet::BreakerState::Open,
        Held::Closed => fleet::BreakerState::Closed,
    };
    let held = fleet::BreakerOverride {
        id: id.to_string(),
        provider: provider.to_string(),
        model: model
            .as_ref()
            .map(|model| model.as_str().to_owned())
            .unwrap_or_default(),
        state: state.into(),
        expires_at: Some((*expires_at).into()),
    };
    fleet::Resource {
        kind: Some(Kind::BreakerOverride(held)),
    }
}

fn model_options(options: &provider::ModelOptions) -> fleet::ModelOptions {
    let provider::ModelOptions {
        model,
        context_window,
        max_output_tokens,
        dialect_overrides,
    } = options;
    fleet::ModelOptions {
        model: model.as_str().to_owned(),
        context_window: *context_window,
        max_output_tokens: *max_output_tokens,
        dialect_overrides: dialect::to_proto(dialect_overrides),
    }
}

fn loss_policy(policy: LossPolicy) -> fleet::LossPolicy {
    match policy {
        LossPolicy::Report => fleet::LossPolicy::Report,
        LossPolicy::Silent => fleet::LossPolicy::Silent,
        LossPolicy::Strict => fleet::LossPolicy::Strict,
    }
}

fn api_format(format: ApiFormat) -> fleet::ApiFormat {
    match format {
        ApiFormat::Openai => fleet::ApiFormat::Openai,
        ApiFormat::Anthropic => fleet::ApiFormat::Anthropic,
    }
}

fn tier(tier: Tier) -> fleet::Tier {
    match tier {
        Tier::Small => fleet::Tier::Small,
        Tier::Middle => fleet::Tier::Middle,
        Tier::Big => fleet::Tier::Big,
    }
}

fn tier_models(models: &provider::TierModels) -> fleet::TierModels {
    let provider::ModelsDraft { big, middle, small } = models.to_draft();
    fleet::TierModels { big, middle, small }
}

fn seconds(seconds: u32) -> prost_types::Duration {
    prost_types::Duration {
        seconds: seconds.into(),
        nanos: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Times;
    use crate::domain::provider::Credentials;
    use crate::domain::user::UserId;

    fn stored_provider(enabled: bool) -> Stored<Provider> {
        let draft = provider::Draft {
            name: "qwen".into(),
            enabled,
            priority: 3,
            api_format: ApiFormat::Openai,
            base_url: "https://dashscope.aliyuncs.com/compatible-mode/v1".into(),
            dialect: String::new(),
            dialect_overrides: [("mid_system".into(), provider::KnobValue::Text("top".into()))].into(),
            models: provider::ModelsDraft {
                big: vec!["qwen-max".into()],
                ..Default::default()
            },
            model_options: vec![provider::ModelOptionsDraft {
                model: "qwen-max".into(),
                context_window: Some(32_768),
                max_output_tokens: Some(8_192),
                dialect_overrides: [("max_stop".into(), provider::KnobValue::Number(2.0))].into(),
            }],
            timeout_s: 0,
            max_retries: Some(1),
            max_tokens_limit: None,
        };
        let times = Times::new(SystemTime::UNIX_EPOCH);
        let provider = Provider {
            spec: draft.check().unwrap(),
            credentials: Credentials::default(),
            times,
        };
        Stored {
            value: provider,
            revision: 42,
        }
    }

    fn key(enabled: bool) -> ApiKey {
        let minted = api_key::mint([9; 32], [1; 12]);
        let draft = api_key::Draft {
            limits: crate::domain::limits::Draft::default(),
            name: "ci".into(),
            email: String::new(),
            owner: UserId::mint([1; 16]),
            enabled,
            expires_at: None,
            allowed_models: vec!["claude-*".into()],
            allowed_providers: vec![],
            loss_policy: Some(LossPolicy::Strict),
        };
        let times = Times::new(SystemTime::UNIX_EPOCH);
        ApiKey {
            id: minted.id,
            hash: minted.hash,
            spec: draft.check().unwrap(),
            disabled_by: (!enabled).then_some(api_key::DisabledBy::Admin),
            successor: None,
            times,
        }
    }

    #[test]
    fn what_is_disabled_is_not_sent() {
        assert!(provider(&stored_provider(false), &PlainSecrets::default()).is_none());
        assert!(api_key(&key(false)).is_none());
    }

    #[test]
    fn a_provider_carries_its_secrets_and_its_revision() {
        let secrets = PlainSecrets {
            api_key: Some("upstream-key".into()),
            custom_headers: vec![(provider::HeaderName::parse("X-Team").unwrap(), "blue".into())],
        };
        let resource = provider(&stored_provider(true), &secrets).unwrap();
        let Some(Kind::Provider(sent)) = resource.kind else {
            panic!("not a provider")
        };
        assert_eq!(
            (sent.api_key.as_str(), sent.custom_headers["x-team"].as_str()),
            ("upstream-key", "blue")
        );
        assert_eq!(
            (sent.revision, sent.priority, sent.dialect.as_str()),
            (42, 3, "qwen")
        );
        assert_eq!(sent.timeout, None, "zero means the data plane's default");
        let knobs = |mid_system: Option<&str>, max_stop| fleet::Dialect {
            mid_system: mid_system.map(Into::into),
            max_stop,
            ..Default::default()
        };
        assert_eq!(sent.dialect_overrides, Some(knobs(Some("top"), None)));
        let options = fleet::ModelOptions {
            model: "qwen-max".into(),
            context_window: Some(32_768),
            max_output_tokens: Some(8_192),
            dialect_overrides: Some(knobs(None, Some(2))),
        };
        assert_eq!(sent.model_options, [options]);
    }

    #[test]
    fn a_key_carries_its_hash_and_never_its_secret() {
        let key = key(true);
        let Some(Kind::ApiKey(sent)) = api_key(&key).unwrap().kind else {
            panic!("not a key")
        };
        assert_eq!(sent.hash, key.hash.as_bytes());
        assert_eq!(sent.allowed_models, ["claude-*"]);
        assert_eq!(sent.loss_policy(), fleet::LossPolicy::Strict);
    }
}
