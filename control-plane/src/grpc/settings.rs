//! `SettingsService`.

use std::time::SystemTime;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::settings_service_server::SettingsService;
use tonic::{Request, Response, Status};

use crate::domain::settings::Draft;
use crate::domain::user::Role;
use crate::domain::{Invalid, Violations};
use crate::grpc::call::Call;
use crate::grpc::commits::{self, Commits};
use crate::grpc::mask::{self, UnknownPath};
use crate::grpc::status::Error;
use crate::grpc::{accounts, convert, summary};
use crate::store::{Change, Kind, Store, Stored};

const TARGET: &str = "settings";

pub(crate) struct Settings {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
    pub(crate) started_at: SystemTime,
}

#[tonic::async_trait]
impl SettingsService for Settings {
    async fn get_settings(
        &self,
        _: Request<admin::GetSettingsRequest>,
    ) -> Result<Response<admin::GetSettingsResponse>, Status> {
        let settings = Some(convert::settings(self.stored().await?));
        Ok(Response::new(admin::GetSettingsResponse { settings }))
    }

    async fn get_server_info(
        &self,
        _: Request<admin::GetServerInfoRequest>,
    ) -> Result<Response<admin::GetServerInfoResponse>, Status> {
        Ok(Response::new(admin::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: Some(self.started_at.into()),
        }))
    }

    async fn update_settings(
        &self,
        request: Request<admin::UpdateSettingsRequest>,
    ) -> Result<Response<admin::UpdateSettingsResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let settings = commits::update(request.revision, || self.update(&call, request.clone())).await?;
        let settings = Some(convert::settings(settings));
        Ok(Response::new(admin::UpdateSettingsResponse { settings }))
    }
}

impl Settings {
    async fn stored(&self) -> Result<Stored<crate::domain::settings::Settings>, Error> {
        let missing = || Error::NotFound {
            kind: Kind::Settings,
            id: String::new(),
        };
        self.store.settings().await?.ok_or_else(missing)
    }

    async fn update(
        &self,
        call: &Call,
        request: admin::UpdateSettingsRequest,
    ) -> Result<Stored<crate::domain::settings::Settings>, Error> {
        let admin::UpdateSettingsRequest {
            settings,
            update_mask,
            revision,
        } = request;
        let wire = settings.unwrap_or_default();
        let before = self.stored().await?;
        let mut draft = before.value.to_draft();
        let mut violations = Violations::default();
        mask::apply(update_mask, |path| set(&mut draft, path, &wire, &mut violations))?;
        violations.finish(Some(()))?;
        let after = draft.check().map_err(|part| Error::nested("settings", part))?;
        if after.differs_in_security(&before.value) && call.caller.role != Role::Admin {
            return Err(Error::RoleRefused {
                role: call.caller.role,
            });
        }
        let audit = call.audit(TARGET).with_summaries(
            Some(summary::settings(&before.value)),
            Some(summary::settings(&after)),
        );
        let change = Change::PutSettings(after.clone(), commits::expect(revision, before.revision));
        let revision = self.commits.commit(vec![change], audit).await?;
        Ok(Stored {
            value: after,
            revision,
        })
    }
}

fn set(
    draft: &mut Draft,
    path: &str,
    wire: &admin::Settings,
    violations: &mut Violations,
) -> Result<(), UnknownPath> {
    let breaker = wire.circuit_breaker.unwrap_or_default();
    let retention = wire.retention.unwrap_or_default();
    let user_keys = || accounts::user_keys_draft(wire.user_keys.clone());
    match path {
        "fallback_strategy" => {
            let strategy = convert::fallback_strategy(wire.fallback_strategy);
            if let Some(strategy) = violations.check("settings.fallback_strategy", strategy) {
                draft.fallback_strategy = strategy;
            }
        }
        "circuit_breaker" => {
            let admin::CircuitBreaker {
                enabled,
                failure_threshold,
                recovery_timeout,
            } = breaker;
            draft.breaker.enabled = enabled;
            draft.breaker.failure_threshold = failure_threshold;
            draft.breaker.recovery_timeout_s = recovery_timeout;
        }
        "circuit_breaker.enabled" => draft.breaker.enabled = breaker.enabled,
        "circuit_breaker.failure_threshold" => draft.breaker.failure_threshold = breaker.failure_threshold,
        "circuit_breaker.recovery_timeout" => draft.breaker.recovery_timeout_s = breaker.recovery_timeout,
        "min_tokens_limit" => draft.min_tokens_limit = wire.min_tokens_limit,
        "max_tokens_limit" => draft.max_tokens_limit = wire.max_tokens_limit,
        "max_attempts" => draft.max_attempts = wire.max_attempts,
        "request_deadline" => draft.request_deadline_s = wire.request_deadline,
        "stale_limit" => draft.stale_limit_s = wire.stale_limit,
        "allow_query_api_key" => draft.allow_query_api_key = wire.allow_query_api_key,
        "loss_policy" => {
            let policy = convert::loss_policy(wire.loss_policy)
                .and_then(|policy| policy.ok_or_else(|| Invalid::new("must be report, silent or strict")));
            if let Some(policy) = violations.check("settings.loss_policy", policy) {
                draft.loss_policy = policy;
            }
        }
        "default_tier" => {
            if let Some(tier) = violations.check("settings.default_tier", convert::tier(wire.default_tier)) {
                draft.default_tier = tier;
            }
        }
        "prices" => draft.prices = accounts::prices_draft(&wire.prices),
        "currency" => draft.currency.clone_from(&wire.currency),
        "retention" => draft.retention = accounts::retention_draft(&retention),
        "retention.minute_hours" => draft.retention.minute_hours = retention.minute_hours,
        "retention.hour_days" => draft.retention.hour_days = retention.hour_days,
        "retention.day_days" => draft.retention.day_days = retention.day_days,
        "retention.request_hours" => draft.retention.request_hours = retention.request_hours,
        "retention.request_entries" => draft.retention.request_entries = retention.request_entries,
        "user_keys" => draft.user_keys = user_keys(),
        "user_keys.max_keys" => draft.user_keys.max_keys = user_keys().max_keys,
        "user_keys.limits" => draft.user_keys.limits = user_keys().limits,
        _ => return Err(UnknownPath),
    }
    Ok(())
}
