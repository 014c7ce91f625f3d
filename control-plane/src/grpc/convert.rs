//! Between the contract's messages and the domain, naming every field: a new one
//! fails to compile here instead of vanishing.

use std::time::SystemTime;

use bridge_proto::admin::v1 as admin;
use prost_types::Timestamp;

use crate::domain::api_key::{self, ApiKey, DisabledBy};
use crate::domain::model::Tier;
use crate::domain::provider::{self, ApiFormat, HeaderName, Provider};
use crate::domain::session::{Client, Session};
use crate::domain::settings::{self, FallbackStrategy, Settings};
use crate::domain::user::{self, Role, User};
use crate::domain::{Invalid, LossPolicy, Times};
use crate::grpc::accounts;
use crate::snapshot::{dialect, limits};
use crate::store::Stored;

// === users ===

pub(crate) fn user(stored: Stored<User>, last_login_at: Option<SystemTime>) -> admin::User {
    let Stored {
        value: User {
            id,
            spec,
            credentials,
            times,
        },
        revision,
    } = stored;
    let user::Spec {
        email,
        name,
        role,
        enabled,
    } = spec;
    let user::Credentials {
        password_hash: _,
        must_change_password,
        session_epoch: _,
    } = credentials;
    let Times {
        created_at,
        updated_at,
    } = times;
    admin::User {
        id: id.to_string(),
        email: email.as_str().to_owned(),
        name: name.as_str().to_owned(),
        role: role_to_proto(role).into(),
        enabled,
        must_change_password,
        created_at: Some(created_at.into()),
        updated_at: Some(updated_at.into()),
        last_login_at: last_login_at.map(Timestamp::from),
        revision,
    }
}

pub(crate) fn session(session: Session, is_current: bool) -> admin::Session {
    let Session {
        id,
        user_id: _,
        generation: _,
        created_at,
        refreshed_at,
        expires_at,
        session_epoch: _,
        client: Client { address, user_agent },
    } = session;
    admin::Session {
        id: id.to_string(),
        created_at: Some(created_at.into()),
        refreshed_at: Some(refreshed_at.into()),
        expires_at: Some(expires_at.into()),
        remote_address: address.map(|address| address.to_string()).unwrap_or_default(),
        user_agent,
        is_current,
    }
}

pub(crate) fn role_to_proto(role: Role) -> admin::Role {
    match role {
        Role::Admin => admin::Role::Admin,
        Role::Operator => admin::Role::Operator,
        Role::Auditor => admin::Role::Auditor,
        Role::User => admin::Role::User,
    }
}

/// Unspecified is for the caller to decide about.
pub(crate) fn role(wire: i32) -> Result<Option<Role>, Invalid> {
    match admin::Role::try_from(wire) {
        Ok(admin::Role::Unspecified) => Ok(None),
        Ok(admin::Role::Admin) => Ok(Some(Role::Admin)),
        Ok(admin::Role::Operator) => Ok(Some(Role::Operator)),
        Ok(admin::Role::Auditor) => Ok(Some(Role::Auditor)),
        Ok(admin::Role::User) => Ok(Some(Role::User)),
        Err(_) => Err(Invalid::new("is not a role that this control plane knows")),
    }
}

// === API keys ===

pub(crate) fn api_key(stored: Stored<ApiKey>) -> admin::ApiKey {
    let Stored {
        value:
            ApiKey {
                id,
                hash: _,
                spec,
                disabled_by,
                successor,
                times,
            },
        revision,
    } = stored;
    let display = id.display();
    let limits = limits::limits(&spec.limits);
    let api_key::Draft {
        name,
        email,
        owner,
        enabled,
        expires_at,
        allowed_models,
        allowed_providers,
        loss_policy,
        limits: _,
    } = spec.to_draft();
    let Times {
        created_at,
        updated_at,
    } = times;
    admin::ApiKey {
        id: id.as_str().to_owned(),
        name,
        email,
        owner_user_id: owner.to_string(),
        enabled,
        expires_at: expires_at.map(Timestamp::from),
        allowed_models,
        allowed_providers,
        created_at: Some(created_at.into()),
        updated_at: Some(updated_at.into()),
        // What was used of it is kept elsewhere.
        last_used_at: None,
        revision,
        display,
        loss_policy: loss_policy.map_or(0, |policy| loss_policy_to_proto(policy).into()),
        limits,
        successor_id: successor.map(|id| id.to_string()).unwrap_or_default(),
        disabled_by: disabled_by.map_or(0, |by| disabled_by_to_proto(by).into()),
    }
}

fn disabled_by_to_proto(by: DisabledBy) -> admin::ApiKeyDisabledBy {
    match by {
        DisabledBy::Owner => admin::ApiKeyDisabledBy::Owner,
        DisabledBy::Admin => admin::ApiKeyDisabledBy::Admin,
    }
}

/// A time that a caller sets; absent stays absent.
pub(crate) fn time(wire: Option<Timestamp>) -> Result<Option<SystemTime>, Invalid> {
    let time = wire.map(|time| SystemTime::try_from(time).map_err(|_| Invalid::new("is not a valid time")));
    time.transpose()
}

// === providers ===

pub(crate) fn provider(stored: Stored<Provider>) -> admin::Provider {
    let Stored {
        value: Provider {
            spec,
            credentials,
            times,
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
    } = limits;
    let provider::Credentials {
        sealed: _,
        has_api_key,
        api_key_hint,
        custom_header_names,
    } = credentials;
    let Times {
        created_at,
        updated_at,
    } = times;
    admin::Provider {
        name: name.as_str().to_owned(),
        enabled,
        priority,
        api_format: api_format_to_proto(endpoint.api_format).into(),
        base_url: endpoint.base_url.as_str().to_owned(),
        models: Some(models_to_proto(&by_tier)),
        timeout: timeout_s,
        max_retries,
        max_tokens_limit,
        dialect: endpoint.dialect().as_str().to_owned(),
        is_dialect_guessed: endpoint.is_dialect_guessed(),
        has_api_key,
        api_key_hint,
        custom_header_names: custom_header_names.iter().map(HeaderName::to_string).collect(),
        created_at: Some(created_at.into()),
        updated_at: Some(updated_at.into()),
        revision,
        dialect_overrides: dialect::to_proto(&dialect_overrides),
        model_options: options.into_iter().map(model_options_to_proto).collect(),
    }
}

/// What a caller writes about a new provider. What the control plane itself
/// decides, such as times and hints, is ignored.
pub(crate) fn provider_draft(wire: admin::Provider) -> Result<provider::Draft, Invalid> {
    let admin::Provider {
        name,
        enabled,
        priority,
        api_format,
        base_url,
        models,
        timeout,
        max_retries,
        max_tokens_limit,
        dialect,
        is_dialect_guessed: _,
        has_api_key: _,
        api_key_hint: _,
        custom_header_names: _,
        created_at: _,
        updated_at: _,
        revision: _,
        dialect_overrides,
        model_options,
    } = wire;
    Ok(provider::Draft {
        name,
        enabled,
        priority,
        api_format: self::api_format(api_format)?,
        base_url,
        dialect,
        dialect_overrides: dialect::draft(dialect_overrides),
        models: models_draft(models),
        model_options: model_options_draft(model_options),
        timeout_s: timeout,
        max_retries,
        max_tokens_limit,
    })
}

/// Unspecified means the format that nearly every provider speaks.
pub(crate) fn api_format(wire: i32) -> Result<ApiFormat, Invalid> {
    match admin::ApiFormat::try_from(wire) {
        Ok(admin::ApiFormat::Unspecified | admin::ApiFormat::Openai) => Ok(ApiFormat::Openai),
        Ok(admin::ApiFormat::Anthropic) => Ok(ApiFormat::Anthropic),
        Err(_) => Err(Invalid::new("is not a format that this control plane knows")),
    }
}

pub(crate) fn models_draft(wire: Option<admin::TierModels>) -> provider::ModelsDraft {
    let admin::TierModels { big, middle, small } = wire.unwrap_or_default();
    provider::ModelsDraft { big, middle, small }
}

pub(crate) fn model_options_draft(wire: Vec<admin::ModelOptions>) -> Vec<provider::ModelOptionsDraft> {
    let draft = |options| {
        let admin::ModelOptions {
            model,
            context_window,
            max_output_tokens,
            dialect_overrides,
        } = options;
        provider::ModelOptionsDraft {
            model,
            context_window,
            max_output_tokens,
            dialect_overrides: dialect::draft(dialect_overrides),
        }
    };
    wire.into_iter().map(draft).collect()
}

pub(crate) fn secrets_draft(wire: admin::ProviderSecrets) -> provider::SecretsDraft {
    let admin::ProviderSecrets {
        api_key,
        custom_headers,
    } = wire;
    let custom_headers = custom_headers
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    provider::SecretsDraft {
        api_key: api_key.into(),
        custom_headers,
    }
}

fn api_format_to_proto(format: ApiFormat) -> admin::ApiFormat {
    match format {
        ApiFormat::Openai => admin::ApiFormat::Openai,
        ApiFormat::Anthropic => admin::ApiFormat::Anthropic,
    }
}

fn models_to_proto(models: &provider::TierModels) -> admin::TierModels {
    let provider::ModelsDraft { big, middle, small } = models.to_draft();
    admin::TierModels { big, middle, small }
}

fn model_options_to_proto(options: provider::ModelOptions) -> admin::ModelOptions {
    let provider::ModelOptions {
        model,
        context_window,
        max_output_tokens,
        dialect_overrides,
    } = options;
    admin::ModelOptions {
        model: model.as_str().to_owned(),
        context_window,
        max_output_tokens,
        dialect_overrides: dialect::to_proto(&dialect_overrides),
    }
}

// === settings ===

pub(crate) fn settings(stored: Stored<Settings>) -> admin::Settings {
    let Stored { value, revision } = stored;
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
        retention,
        user_keys,
    } = value.to_draft();
    let settings::Breaker {
        enabled,
        failure_threshold,
        recovery_timeout_s,
    } = breaker;
    let fallback_strategy = match fallback_strategy {
        FallbackStrategy::Priority => admin::FallbackStrategy::Priority,
        FallbackStrategy::Random => admin::FallbackStrategy::Random,
    };
    admin::Settings {
        fallback_strategy: fallback_strategy.into(),
        circuit_breaker: Some(admin::CircuitBreaker {
            enabled,
            failure_threshold,
            recovery_timeout: recovery_timeout_s,
        }),
        min_tokens_limit,
        max_tokens_limit,
        max_attempts,
        request_deadline: request_deadline_s,
        allow_query_api_key,
        revision,
        loss_policy: loss_policy_to_proto(loss_policy).into(),
        default_tier: default_tier.map_or(0, |tier| tier_to_proto(tier).into()),
        stale_limit: stale_limit_s,
        prices: accounts::prices(prices),
        currency,
        retention: Some(accounts::retention(retention)),
        user_keys: Some(accounts::user_keys(user_keys)),
    }
}

pub(crate) fn fallback_strategy(wire: i32) -> Result<FallbackStrategy, Invalid> {
    match admin::FallbackStrategy::try_from(wire) {
        Ok(admin::FallbackStrategy::Priority) => Ok(FallbackStrategy::Priority),
        Ok(admin::FallbackStrategy::Random) => Ok(FallbackStrategy::Random),
        Ok(admin::FallbackStrategy::Unspecified) | Err(_) => Err(Invalid::new("must be priority or random")),
    }
}

/// Unspecified is for the caller to decide about.
pub(crate) fn loss_policy(wire: i32) -> Result<Option<LossPolicy>, Invalid> {
    match admin::LossPolicy::try_from(wire) {
        Ok(admin::LossPolicy::Unspecified) => Ok(None),
        Ok(admin::LossPolicy::Report) => Ok(Some(LossPolicy::Report)),
        Ok(admin::LossPolicy::Silent) => Ok(Some(LossPolicy::Silent)),
        Ok(admin::LossPolicy::Strict) => Ok(Some(LossPolicy::Strict)),
        Err(_) => Err(Invalid::new("must be report, silent or strict")),
    }
}

fn loss_policy_to_proto(policy: LossPolicy) -> admin::LossPolicy {
    match policy {
        LossPolicy::Report => admin::LossPolicy::Report,
        LossPolicy::Silent => admin::LossPolicy::Silent,
        LossPolicy::Strict => admin::LossPolicy::Strict,
    }
}

/// Unspecified is for the caller to decide about.
pub(crate) fn tier(wire: i32) -> Result<Option<Tier>, Invalid> {
    match admin::Tier::try_from(wire) {
        Ok(admin::Tier::Unspecified) => Ok(None),
        Ok(admin::Tier::Small) => Ok(Some(Tier::Small)),
        Ok(admin::Tier::Middle) => Ok(Some(Tier::Middle)),
        Ok(admin::Tier::Big) => Ok(Some(Tier::Big)),
        Err(_) => Err(Invalid::new("must be small, middle or big")),
    }
}

pub(crate) fn tier_to_proto(tier: Tier) -> admin::Tier {
    match tier {
        Tier::Small => admin::Tier::Small,
        Tier::Middle => admin::Tier::Middle,
        Tier::Big => admin::Tier::Big,
    }
}
