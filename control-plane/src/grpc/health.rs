//! `HealthService`: whether providers answer.

mod passive;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::health_service_server::HealthService;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use crate::checks::{Checks, NotMade, Subject};
use crate::domain::Violations;
use crate::domain::health::{self, Check, Failure, Judged, JudgedTier, State};
use crate::domain::model::ModelName;
use crate::domain::provider::{Provider, ProviderName, Spec};
use crate::grpc::call::Call;
use crate::grpc::duration;
use crate::grpc::fleet::view;
use crate::grpc::status::Error;
use crate::probe::{self, CHECKS_MAX};
use crate::roster::Roster;
use crate::snapshot::feed::Feed;
use crate::snapshot::nodes::Nodes;
use crate::store::{Kind, Store, Stored};
use passive::Passive;

/// Requests for checks that run at the same time.
pub(crate) const RUNS_MAX: usize = 4;
/// Providers that one request may name.
const PROVIDERS_MAX: usize = 50;
/// Calls that one request may cause.
const CALLS_MAX: usize = 500;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// Class of what was not checked, because no data plane could.
const NOT_CHECKED: &str = "not_checked";

pub(crate) struct Health {
    pub(crate) store: Store,
    pub(crate) nodes: Nodes,
    pub(crate) roster: Roster,
    pub(crate) feed: Feed,
    pub(crate) checks: Checks,
    pub(crate) runs: Arc<Semaphore>,
}

#[tonic::async_trait]
impl HealthService for Health {
    async fn list_health(
        &self,
        request: Request<admin::ListHealthRequest>,
    ) -> Result<Response<admin::ListHealthResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.list(call.now).await?))
    }

    async fn get_health(
        &self,
        request: Request<admin::GetHealthRequest>,
    ) -> Result<Response<admin::GetHealthResponse>, Status> {
        let call = Call::of(&request)?;
        let name = ProviderName::parse(&request.into_inner().provider)
            .map_err(|reason| Error::invalid("provider", reason.to_string()))?;
        let provider = self.stored(&name).await?;
        let checks = self.store.checks_of(&name).await.map_err(Error::from)?;
        let passive = self.passive(call.now).await?;
        Ok(Response::new(admin::GetHealthResponse {
            health: Some(provider_health(&provider.value.spec, &checks, &passive)),
        }))
    }

    type CheckHealthStream = BoxStream<'static, Result<admin::CheckHealthResponse, Status>>;

    async fn check_health(
        &self,
        request: Request<admin::CheckHealthRequest>,
    ) -> Result<Response<Self::CheckHealthStream>, Status> {
        let call = Call::of(&request)?;
        let admin::CheckHealthRequest { providers, timeout } = request.into_inner();
        let timeout = duration::parse("timeout", timeout, TIMEOUT_DEFAULT, TIMEOUT_MAX)?;
        let providers = self.asked_for(&providers).await?;
        let run = self.begin(&providers, call.now).await?;
        Ok(Response::new(stream_of(run, self.checks.clone(), timeout)))
    }
}

impl Health {
    async fn passive(&self, now: SystemTime) -> Result<Passive, Error> {
        let view = view::of(&self.nodes, &self.roster, &self.feed);
        Passive::look(&self.store, &view.nodes, now).await
    }

    async fn list(&self, now: SystemTime) -> Result<admin::ListHealthResponse, Error> {
        let mut providers = self.store.providers().await?;
        providers.sort_by(|a, b| a.value.spec.name.cmp(&b.value.spec.name));
        let mut checks = by_provider(self.store.checks().await?);
        let passive = self.passive(now).await?;
        let mut states = Vec::new();
        let mut told = Vec::with_capacity(providers.len());
        for Stored { value: provider, .. } in &providers {
            let spec = &provider.spec;
            let checks = checks.remove(&spec.name).unwrap_or_default();
            if spec.enabled {
                states.push(health::judge(&spec.models.by_tier, &checks).state);
            }
            told.push(provider_health(spec, &checks, &passive));
        }
        Ok(admin::ListHealthResponse {
            state: state_to_proto(State::of_all(states)).into(),
            providers: told,
        })
    }

    async fn stored(&self, name: &ProviderName) -> Result<Stored<Provider>, Error> {
        self.store.provider(name).await?.ok_or_else(|| Error::NotFound {
            kind: Kind::Provider,
            id: name.to_string(),
        })
    }

    /// The providers that are named, or all enabled ones.
    async fn asked_for(&self, names: &[String]) -> Result<Vec<Stored<Provider>>, Error> {
        if names.is_empty() {
            let mut providers = self.store.providers().await?;
            providers.retain(|provider| provider.value.spec.enabled);
            return Ok(providers);
        }
        let mut violations = Violations::default();
        if names.len() > PROVIDERS_MAX {
            violations.add("providers", format!("must name at most {PROVIDERS_MAX}"));
        }
        let mut parsed = violations.check_all("providers", names.iter().take(PROVIDERS_MAX), |name| {
            ProviderName::parse(name)
        });
        violations.finish(Some(()))?;
        parsed.sort();
        parsed.dedup();
        let mut providers = Vec::with_capacity(parsed.len());
        for name in &parsed {
            let provider = self.stored(name).await?;
            if !provider.value.spec.enabled {
                return Err(Error::Precondition(format!(
                    "provider {name} is disabled: data planes do not know it"
                )));
            }
            providers.push(provider);
        }
        Ok(providers)
    }

    async fn begin(&self, providers: &[Stored<Provider>], now: SystemTime) -> Result<Run, Error> {
        if !probe::is_possible(&self.nodes) {
            return Err(Error::Precondition(
                "no data plane that can check a provider is connected".to_owned(),
            ));
        }
        let subjects: Vec<_> = providers.iter().flat_map(subjects).collect();
        if subjects.len() > CALLS_MAX {
            return Err(Error::Precondition(format!(
                "this would be {} calls, and at most {CALLS_MAX} may be made at a time; name some providers",
                subjects.len()
            )));
        }
        let permit = Arc::clone(&self.runs)
            .try_acquire_owned()
            .map_err(|_| Error::TooMany {
                retry_after: TIMEOUT_DEFAULT,
            })?;
        let mut checks = by_provider(self.store.checks().await?);
        let mut known = BTreeMap::new();
        for Stored { value: provider, .. } in providers {
            let spec = provider.spec.clone();
            let checks = checks.remove(&spec.name).unwrap_or_default();
            known.insert(spec.name.clone(), Known { spec, checks });
        }
        Ok(Run {
            subjects,
            known,
            passive: self.passive(now).await?,
            done: 0,
            _permit: permit,
        })
    }
}

/// One request for checks, as far as it has come.
struct Run {
    subjects: Vec<Subject>,
    known: BTreeMap<ProviderName, Known>,
    /// As it was when the run began.
    passive: Passive,
    done: u32,
    _permit: OwnedSemaphorePermit,
}

/// A provider and what is known of it.
struct Known {
    spec: Spec,
    checks: Vec<Check>,
}

/// Each model once, though it may be in several tiers.
fn subjects(provider: &Stored<Provider>) -> Vec<Subject> {
    let Stored { value, revision } = provider;
    let mut models: Vec<&ModelName> = Vec::new();
    for model in value.spec.models.by_tier.all() {
        if !models.contains(&model) {
            models.push(model);
        }
    }
    let subject = |model: &ModelName| Subject {
        provider: value.spec.name.clone(),
        model: model.clone(),
        revision: *revision,
    };
    models.into_iter().map(subject).collect()
}

fn stream_of(
    mut run: Run,
    checks: Checks,
    timeout: Duration,
) -> BoxStream<'static, Result<admin::CheckHealthResponse, Status>> {
    let subjects = std::mem::take(&mut run.subjects);
    let total = u32::try_from(subjects.len()).unwrap_or(u32::MAX);
    let made = stream::iter(subjects).map(move |subject| {
        let running = checks.run(&subject, timeout);
        async move { (subject, running.await) }
    });
    made.buffer_unordered(CHECKS_MAX)
        .map(move |(subject, made)| Ok(run.told(&subject, made, total)))
        .boxed()
}

impl Run {
    fn told(
        &mut self,
        subject: &Subject,
        made: Result<Check, NotMade>,
        total: u32,
    ) -> admin::CheckHealthResponse {
        self.done += 1;
        let model = match &made {
            Ok(check) => model_health(&subject.model, Some(check)),
            Err(NotMade(reason)) => admin::ModelHealth {
                error_class: NOT_CHECKED.to_owned(),
                message: reason.clone(),
                ..model_health(&subject.model, None)
            },
        };
        let known = self.known.get_mut(&subject.provider);
        let health = known.map(|Known { spec, checks }| {
            if let Ok(check) = made {
                checks.retain(|known| known.model != check.model);
                checks.push(check);
            }
            provider_health(spec, checks, &self.passive)
        });
        admin::CheckHealthResponse {
            provider: subject.provider.to_string(),
            model: Some(model),
            health,
            done: self.done,
            total,
        }
    }
}

fn by_provider(checks: Vec<Check>) -> BTreeMap<ProviderName, Vec<Check>> {
    let mut by_provider = BTreeMap::<_, Vec<_>>::new();
    for check in checks {
        by_provider.entry(check.provider.clone()).or_default().push(check);
    }
    by_provider
}

fn provider_health(spec: &Spec, checks: &[Check], passive: &Passive) -> admin::ProviderHealth {
    let Judged {
        state,
        tiers,
        checked_at,
    } = health::judge(&spec.models.by_tier, checks);
    admin::ProviderHealth {
        provider: spec.name.to_string(),
        enabled: spec.enabled,
        state: state_to_proto(state).into(),
        tiers: tiers.into_iter().map(tier_health).collect(),
        passive: Some(passive.of(spec.name.as_str())),
        checked_at: checked_at.map(Into::into),
    }
}

fn tier_health(judged: JudgedTier<'_>) -> admin::TierHealth {
    let JudgedTier { tier, state, models } = judged;
    admin::TierHealth {
        tier: tier.as_str().to_owned(),
        state: state_to_proto(state).into(),
        models: models
            .into_iter()
            .map(|(model, check)| model_health(model, check))
            .collect(),
    }
}

fn model_health(model: &ModelName, check: Option<&Check>) -> admin::ModelHealth {
    let unchecked = admin::ModelHealth {
        model: model.as_str().to_owned(),
        state: state_to_proto(State::of(check)).into(),
        ..Default::default()
    };
    let Some(Check {
        provider: _,
        model: _,
        at,
        latency,
        node,
        http_status,
        failure,
    }) = check
    else {
        return unchecked;
    };
    let (error_class, message) = match failure {
        Some(Failure { class, message }) => (class.clone(), message.clone()),
        None => Default::default(),
    };
    admin::ModelHealth {
        checked_at: Some((*at).into()),
        latency: (*latency).try_into().ok(),
        http_status: *http_status,
        error_class,
        message,
        node_id: node.clone(),
        ..unchecked
    }
}

fn state_to_proto(state: State) -> admin::HealthState {
    match state {
        State::Healthy => admin::HealthState::Healthy,
        State::Partial => admin::HealthState::Partial,
        State::Unhealthy => admin::HealthState::Unhealthy,
        State::Unchecked => admin::HealthState::Unchecked,
    }
}
