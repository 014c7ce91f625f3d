//! A thing in the words of `provider.json`. A secret is `***`.

use std::time::SystemTime;

use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::domain::{
    LossPolicy,
    api_key::{self, ApiKey},
    limits::{self, Amount, Period},
    model::{self, ModelRule, Tier},
    price::Price,
    provider::{self, Credentials, KnobValue, Provider},
    retention::Retention,
    settings::{self, Breaker, Settings},
    usage::Tokens,
    user_keys::UserKeys,
};
use crate::import::MASK;
use crate::store::Thing;

/// An object that is written field by field.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// What is absent is not written.
    fn put_some(&mut self, name: &str, value: Option<impl Into<Value>>) -> &mut Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    fn put_text(&mut self, name: &str, text: String) -> &mut Self {
        self.put_some(name, (!text.is_empty()).then_some(text))
    }

    fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// The thing; a rule with its place in the list, from 1, if that is of interest.
pub(crate) fn thing(thing: &Thing, place: Option<u32>) -> Value {
    match thing {
        Thing::Provider(provider) => self::provider(provider),
        Thing::ApiKey(key) => api_key(key),
        Thing::ModelRule(rule) => model_rule(rule, place),
        Thing::Settings(settings) => Value::Object(self::settings(settings)),
    }
}

pub(crate) fn provider(provider: &Provider) -> Value {
    let provider::Draft {
        name,
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
    let Credentials {
        sealed: _,
        has_api_key,
        api_key_hint: _,
        custom_header_names,
    } = &provider.credentials;
    let mut models = Fields::default();
    models.put("big", big).put("middle", middle).put("small", small);
    let mut fields = Fields::default();
    fields
        .put("name", name)
        .put("enabled", enabled)
        .put("priority", priority)
        .put("api_format", api_format.as_str())
        .put("base_url", base_url)
        .put("models", models.into_value())
        .put_text("dialect", dialect)
        .put_some("dialect_overrides", knobs(dialect_overrides))
        .put_some("timeout", (timeout_s > 0).then_some(timeout_s))
        .put_some("max_retries", max_retries)
        .put_some("max_tokens_limit", max_tokens_limit)
        .put_some("api_key", has_api_key.then_some(MASK));
    if !model_options.is_empty() {
        let options: Vec<Value> = model_options.into_iter().map(self::model_options).collect();
        fields.put("model_options", options);
    }
    if !custom_header_names.is_empty() {
        let headers = custom_header_names
            .iter()
            .map(|name| (name.as_str().to_owned(), Value::from(MASK)));
        fields.put("custom_headers", Value::Object(headers.collect()));
    }
    fields.into_value()
}

fn model_options(draft: provider::ModelOptionsDraft) -> Value {
    let provider::ModelOptionsDraft {
        model,
        context_window,
        max_output_tokens,
        dialect_overrides,
    } = draft;
    let mut fields = Fields::default();
    fields
        .put("model", model)
        .put_some("context_window", context_window)
        .put_some("max_output_tokens", max_output_tokens)
        .put_some("dialect_overrides", knobs(dialect_overrides));
    fields.into_value()
}

/// `None`: none is set.
fn knobs(draft: provider::OverridesDraft) -> Option<Value> {
    let knobs: Map<String, Value> = draft
        .into_iter()
        .map(|(name, value)| (name, knob(value)))
        .collect();
    (!knobs.is_empty()).then_some(Value::Object(knobs))
}

fn knob(value: KnobValue) -> Value {
    match value {
        KnobValue::Flag(flag) => flag.into(),
        // Whole numbers are written as such.
        KnobValue::Number(number) if number.fract() == 0.0 && number.abs() < f64::from(u32::MAX) => {
            (number as i64).into()
        }
        KnobValue::Number(number) => number.into(),
        KnobValue::Text(text) => text.into(),
        KnobValue::List(texts) => texts.into(),
    }
}

pub(crate) fn model_rule(rule: &ModelRule, place: Option<u32>) -> Value {
    let model::Draft {
        pattern,
        tier,
        provider,
        model,
    } = rule.to_draft();
    let mut fields = Fields::default();
    fields
        .put("id", rule.id.as_str())
        .put("match", pattern)
        .put_some("tier", tier)
        .put_some("provider", provider)
        .put_some("model", model)
        .put_some("position", place);
    fields.into_value()
}

pub(crate) fn api_key(key: &ApiKey) -> Value {
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
    let mut fields = Fields::default();
    fields
        .put("id", key.id.as_str())
        .put("name", name)
        .put_text("email", email)
        .put("owner", owner.to_string())
        .put("enabled", enabled)
        .put_some("expires_at", expires_at.and_then(time))
        .put("allowed_models", allowed_models)
        .put("allowed_providers", allowed_providers)
        .put_some("loss_policy", loss_policy.map(LossPolicy::as_str))
        .put_some("limits", self::limits(limits));
    fields.into_value()
}

fn time(at: SystemTime) -> Option<String> {
    OffsetDateTime::from(at).format(&Rfc3339).ok()
}

/// `None`: no limits.
fn limits(draft: limits::Draft) -> Option<Value> {
    let limits::Draft {
        requests_per_minute,
        tokens_per_minute,
        concurrent_requests,
        budgets,
    } = draft;
    let budgets: Vec<Value> = budgets.into_iter().map(budget).collect();
    let mut fields = Fields::default();
    fields
        .put_some("requests_per_minute", requests_per_minute)
        .put_some("tokens_per_minute", tokens_per_minute)
        .put_some("concurrent_requests", concurrent_requests)
        .put_some("budgets", (!budgets.is_empty()).then_some(budgets));
    (!fields.0.is_empty()).then(|| fields.into_value())
}

fn budget(draft: limits::BudgetDraft) -> Value {
    let limits::BudgetDraft { period, amount } = draft;
    let mut fields = Fields::default();
    fields.put_some("period", period.map(Period::as_str));
    match amount {
        Some(Amount::Tokens(tokens)) => fields.put("tokens", tokens),
        Some(Amount::CostMicros(micros)) => fields.put("cost_micros", micros),
        None => &mut fields,
    };
    fields.into_value()
}

/// The settings as members of the file.
pub(crate) fn settings(settings: &Settings) -> Map<String, Value> {
    let settings::Draft {
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
        user_keys: UserKeys { max_keys, limits },
    } = settings.to_draft();
    let mut breaker = Fields::default();
    breaker
        .put("enabled", enabled)
        .put("failure_threshold", failure_threshold)
        .put("recovery_timeout", recovery_timeout_s);
    let prices: Vec<Value> = prices.into_iter().map(price).collect();
    let mut fields = Fields::default();
    fields
        .put("fallback_strategy", fallback_strategy.as_str())
        .put("circuit_breaker", breaker.into_value())
        .put("min_tokens_limit", min_tokens_limit)
        .put("max_tokens_limit", max_tokens_limit)
        .put("max_attempts", max_attempts)
        .put("request_deadline", request_deadline_s)
        .put("allow_query_api_key", allow_query_api_key)
        .put("loss_policy", loss_policy.as_str())
        .put("default_tier", default_tier.map_or("", Tier::as_str))
        .put("stale_limit", stale_limit_s)
        .put("prices", prices)
        .put("currency", currency)
        .put("retention", self::retention(retention));
    let mut user_keys = Fields::default();
    user_keys.put("max_keys", max_keys).put(
        "limits",
        self::limits(limits).unwrap_or_else(|| Fields::default().into_value()),
    );
    fields.put("user_keys", user_keys.into_value());
    fields.0
}

fn price(price: Price) -> Value {
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
    let mut fields = Fields::default();
    fields
        .put_text("provider", provider)
        .put("model", model)
        .put("input", input)
        .put("output", output)
        .put("cache_read", cache_read)
        .put("cache_creation", cache_creation);
    fields.into_value()
}

fn retention(retention: Retention) -> Value {
    let Retention {
        minute_hours,
        hour_days,
        day_days,
        request_hours,
        request_entries,
    } = retention;
    let mut fields = Fields::default();
    fields
        .put("minute_hours", minute_hours)
        .put("hour_days", hour_days)
        .put("day_days", day_days)
        .put("request_hours", request_hours)
        .put("request_entries", request_entries);
    fields.into_value()
}
