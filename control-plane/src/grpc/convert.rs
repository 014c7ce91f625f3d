//! Between the contract's messages and the domain, naming every field: a new one
//! fails to compile here instead of vanishing.

mod provider;

use std::time::SystemTime;

use bridge_proto::admin::v1 as admin;
use prost_types::Timestamp;

use crate::domain::api_key::{self, ApiKey, DisabledBy};
use crate::domain::model::Tier;
use crate::domain::session::{Client, Session};
use crate::domain::settings::{self, FallbackStrategy, Settings};
use crate::domain::user::{self, Role, User};
use crate::domain::{Invalid, LossPolicy, Times};
use crate::grpc::accounts;
use crate::snapshot::limits;
use crate::store::Stored;

pub(crate) use self::provider::{
    api_format, model_options_draft, models_draft, provider, provider_draft, secrets_draft,
};

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
