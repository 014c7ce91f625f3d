//! What the audit trail says about a thing before and after a change: one line,
//! every field by name, nothing secret.

use crate::domain::LossPolicy;
use crate::domain::api_key::{self, ApiKey};
use crate::domain::audit::Summary;
use crate::domain::limits::{self, Amount, Period};
use crate::domain::model::{ModelRule, Target, Tier};
use crate::domain::price::Price;
use crate::domain::provider::{self, Provider};
use crate::domain::retention::Retention;
use crate::domain::service_token::{self, ServiceToken};
use crate::domain::settings::{self, Settings};
use crate::domain::usage::Tokens;
use crate::domain::user::{self, User};
use crate::store::Stored;

pub(crate) fn user(user: &User) -> Summary {
    let user::Spec {
        email,
        name,
        role,
        enabled,
    } = &user.spec;
    let user::Credentials {
        password_hash: _,
        must_change_password,
        session_epoch,
    } = &user.credentials;
    Summary::new(format!(
        "email={} name={:?} role={} enabled={enabled} must_change_password={must_change_password} \
         session_epoch={session_epoch}",
        email.as_str(),
        name.as_str(),
        role.as_str(),
    ))
}

pub(crate) fn api_key(key: &ApiKey) -> Summary {
    let api_key::Draft {
        name,
        email,
        owner,
        enabled,
        expires_at,
        allowed_models,
        allowed_providers,
        loss_policy,
        limits,
    } = key.spec.to_draft();
    let expires_s = expires_at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    let expires_s = expires_s.map_or_else(|| "never".to_owned(), |since| since.as_secs().to_string());
    Summary::new(format!(
        "name={name:?} email={email} owner={owner} enabled={enabled} expires_s={expires_s} \
         allowed_models={allowed_models:?} allowed_providers={allowed_providers:?} loss_policy={} {}",
        loss_policy.map_or("of the settings", LossPolicy::as_str),
        limits_text(&limits),
    ))
}

fn limits_text(limits: &limits::Draft) -> String {
    let limits::Draft {
        requests_per_minute,
        tokens_per_minute,
        concurrent_requests,
        budgets,
    } = limits;
    let budgets: Vec<_> = budgets
        .iter()
        .map(|limits::BudgetDraft { period, amount }| {
            let period = period.map(Period::as_str).unwrap_or_default();
            match amount {
                Some(Amount::Tokens(tokens)) => format!("{period}:{tokens} tokens"),
                Some(Amount::CostMicros(micros)) => format!("{period}:{micros} micros"),
                None => period.to_owned(),
            }
        })
        .collect();
    format!(
        "requests_per_minute={requests_per_minute:?} tokens_per_minute={tokens_per_minute:?} \
         concurrent_requests={concurrent_requests:?} budgets={budgets:?}"
    )
}

pub(crate) fn service_token(token: &ServiceToken) -> Summary {
    let ServiceToken {
        id: _,
        hash: _,
        maker,
        spec:
            service_token::Spec {
                name,
                role,
                scopes,
                expires_at,
            },
        created_at: _,
    } = token;
    let expires_s = expires_at.duration_since(std::time::UNIX_EPOCH);
    Summary::new(format!(
        "name={:?} role={} scopes={:?} expires_s={} maker={maker}",
        name.as_str(),
        role.as_str(),
        scopes.to_texts(),
        expires_s.unwrap_or_default().as_secs(),
    ))
}

pub(crate) fn provider(provider: &Provider) -> Summary {
    Summary::new(provider_text(provider))
}

/// A provider that is deleted together with rules.
pub(crate) fn provider_and_rules(provider: &Provider, rules: &[Stored<ModelRule>]) -> Summary {
    if rules.is_empty() {
        return self::provider(provider);
    }
    let rules: Vec<_> = rules.iter().map(|rule| model_rule_text(&rule.value)).collect();
    Summary::new(format!(
        "rules=[{}] {}",
        rules.join(", "),
        provider_text(provider)
    ))
}

pub(crate) fn model_rule(rule: &ModelRule) -> Summary {
    Summary::new(model_rule_text(rule))
}

fn model_rule_text(rule: &ModelRule) -> String {
    let ModelRule {
        id: _,
        position: _,
        pattern,
        target,
    } = rule;
    let target = match target {
        Target::Tier(tier) => format!("tier={}", tier.as_str()),
        Target::Upstream { provider, model } => format!("provider={provider} model={:?}", model.as_str()),
    };
    format!("match={:?} {target}", pattern.as_str())
}

fn provider_text(provider: &Provider) -> String {
    let provider::Draft {
        name: _,
        enabled,
        priority,
        api_format,
        base_url,
        dialect,
        dialect_overrides,
        models: provider::ModelsDraft { big, middle, small },
        model_options,
        timeout_s,
        max_retries,
        max_tokens_limit,
    } = provider.spec.to_draft();
    let provider::Credentials {
        sealed: _,
        has_api_key,
        api_key_hint: _,
        custom_header_names,
    } = &provider.credentials;
    let headers: Vec<_> = custom_header_names
        .iter()
        .map(provider::HeaderName::as_str)
        .collect();
    format!(
        "enabled={enabled} priority={priority} api_format={} base_url={base_url} dialect={dialect:?} \
         dialect_overrides={{{}}} big={big:?} middle={middle:?} small={small:?} timeout_s={timeout_s} max_retries={max_retries:?} \
         max_tokens_limit={max_tokens_limit:?} has_api_key={has_api_key} custom_headers={headers:?} \
         model_options=[{}]",
        api_format.as_str(),
        knobs(&dialect_overrides),
        model_options
            .iter()
            .map(model_options_text)
            .collect::<Vec<_>>()
            .join(", "),
    )
}

fn model_options_text(options: &provider::ModelOptionsDraft) -> String {
    let provider::ModelOptionsDraft {
        model,
        context_window,
        max_output_tokens,
        dialect_overrides,
    } = options;
    format!(
        "{{model={model} context_window={context_window:?} max_output_tokens={max_output_tokens:?} \
         dialect_overrides={{{}}}}}",
        knobs(dialect_overrides)
    )
}

fn knobs(overrides: &provider::OverridesDraft) -> String {
    let knobs = overrides.iter().map(|(name, value)| match value {
        provider::KnobValue::Flag(flag) => format!("{name}={flag}"),
        provider::KnobValue::Number(number) => format!("{name}={number}"),
        provider::KnobValue::Text(text) => format!("{name}={text:?}"),
        provider::KnobValue::List(texts) => format!("{name}={texts:?}"),
    });
    knobs.collect::<Vec<_>>().join(" ")
}

pub(crate) fn settings(settings: &Settings) -> Summary {
    let settings::Draft {
        fallback_strategy,
        breaker:
            settings::Breaker {
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
        retention:
            Retention {
                minute_hours,
                hour_days,
                day_days,
                request_hours,
                request_entries,
            },
    } = settings.to_draft();
    let prices: Vec<_> = prices.iter().map(price_text).collect();
    Summary::new(format!(
        "fallback_strategy={} breaker.enabled={enabled} breaker.failure_threshold={failure_threshold} \
         breaker.recovery_timeout_s={recovery_timeout_s} min_tokens_limit={min_tokens_limit} \
         max_tokens_limit={max_tokens_limit} max_attempts={max_attempts} request_deadline_s={request_deadline_s} \
         allow_query_api_key={allow_query_api_key} loss_policy={} default_tier={} \
         stale_limit_s={stale_limit_s} currency={currency} prices={prices:?} minute_hours={minute_hours} \
         hour_days={hour_days} day_days={day_days} request_hours={request_hours} request_entries={request_entries}",
        fallback_strategy.as_str(),
        loss_policy.as_str(),
        default_tier.map_or("none", Tier::as_str),
    ))
}

fn price_text(price: &Price) -> String {
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
    format!("{provider}/{model}:{input}/{output}/{cache_read}/{cache_creation}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Times;
    use crate::domain::model::{self, RuleId};
    use crate::domain::provider::{KnobValue, ModelOptionsDraft};

    fn tuned() -> Provider {
        let draft = provider::Draft {
            dialect: "vllm".into(),
            dialect_overrides: [
                ("drop_params".into(), KnobValue::List(vec!["stop".into()])),
                ("mid_system".into(), KnobValue::Text("top".into())),
            ]
            .into(),
            model_options: vec![ModelOptionsDraft {
                model: "m".into(),
                context_window: Some(8_192),
                max_output_tokens: None,
                dialect_overrides: [("vision".into(), KnobValue::Flag(false))].into(),
            }],
            ..provider::Draft::plain("qwen", "http://a.example")
        };
        Provider {
            spec: draft.check().unwrap(),
            credentials: provider::Credentials::default(),
            times: Times::new(std::time::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_provider_says_its_knobs_and_those_of_its_models() {
        let said = provider(&tuned());
        for part in [
            r#"dialect="vllm" dialect_overrides={drop_params=["stop"] mid_system="top"}"#,
            "model_options=[{model=m context_window=Some(8192) max_output_tokens=None dialect_overrides={vision=false}}]",
        ] {
            assert!(said.as_str().contains(part), "{}", said.as_str());
        }
    }

    #[test]
    fn rules_that_go_with_a_provider_are_named() {
        let draft = model::Draft {
            pattern: "gpt-*".into(),
            tier: None,
            provider: Some("qwen".into()),
            model: Some("*".into()),
        };
        let (pattern, target) = draft.check().unwrap();
        let rule = ModelRule {
            id: RuleId::imported(1),
            position: 1,
            pattern,
            target,
        };
        let stored = Stored {
            value: rule,
            revision: 3,
        };
        let said = provider_and_rules(&tuned(), &[stored]);
        let expected = r#"rules=[match="gpt-*" provider=qwen model="*"] enabled=true"#;
        assert!(said.as_str().starts_with(expected), "{}", said.as_str());
        assert_eq!(provider_and_rules(&tuned(), &[]), provider(&tuned()));
    }
}
