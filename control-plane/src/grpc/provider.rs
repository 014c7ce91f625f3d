//! `ProviderService`. Secrets go in and never come out.

use std::time::Duration;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::provider_service_server::ProviderService;
use tonic::{Request, Response, Status};

use crate::checks::{Checks, Subject};
use crate::domain::model::ModelName;
use crate::domain::provider::{Credentials, Draft, PlainSecrets, Provider, ProviderName, Spec, is_knob};
use crate::domain::{Times, Violations};
use crate::grpc::call::Call;
use crate::grpc::commits::{self, Commits, Created};
use crate::grpc::mask::{self, UnknownPath};
use crate::grpc::page::{Ask, matches_query, place_of_number};
use crate::grpc::status::Error;
use crate::grpc::{convert, duration, summary};
use crate::peers::Peers;
use crate::probe::{Probes, Target};
use crate::secrets::Keyring;
use crate::snapshot::dialect;
use crate::store::{Change, Expect, Kind, Store, Stored};

const ORDERS: [&str; 2] = ["priority", "name"];
const TEST_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const TEST_TIMEOUT_MAX: Duration = Duration::from_secs(120);

pub(crate) struct Providers {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
    pub(crate) keyring: Keyring,
    pub(crate) peers: Peers,
    pub(crate) probes: Probes,
    pub(crate) checks: Checks,
}

#[tonic::async_trait]
impl ProviderService for Providers {
    async fn list_providers(
        &self,
        request: Request<admin::ListProvidersRequest>,
    ) -> Result<Response<admin::ListProvidersResponse>, Status> {
        let request = request.into_inner();
        let ask = Ask::parse(request.page_size, &request.page_token, &request.order_by, &ORDERS)?;
        let mut providers = self.store.providers().await.map_err(Error::from)?;
        providers.retain(|provider| is_asked_for(&provider.value.spec, &request));
        let page = ask.cut(providers, |Stored { value: provider, .. }| {
            let name = provider.spec.name.as_str().to_owned();
            match ask.field() {
                "name" => (name.clone(), name),
                _ => (place_of_number(provider.spec.priority), name),
            }
        });
        Ok(Response::new(admin::ListProvidersResponse {
            providers: page.items.into_iter().map(convert::provider).collect(),
            next_page_token: page.next_page_token,
            total_size: page.total_size,
        }))
    }

    async fn get_provider(
        &self,
        request: Request<admin::GetProviderRequest>,
    ) -> Result<Response<admin::GetProviderResponse>, Status> {
        let provider = self.stored(&request.into_inner().name).await?;
        Ok(Response::new(admin::GetProviderResponse {
            provider: Some(convert::provider(provider)),
        }))
    }

    async fn create_provider(
        &self,
        request: Request<admin::CreateProviderRequest>,
    ) -> Result<Response<admin::CreateProviderResponse>, Status> {
        let call = Call::of(&request)?;
        let provider = self.create(&call, request.into_inner()).await?;
        Ok(Response::new(admin::CreateProviderResponse {
            provider: Some(convert::provider(provider)),
        }))
    }

    async fn update_provider(
        &self,
        request: Request<admin::UpdateProviderRequest>,
    ) -> Result<Response<admin::UpdateProviderResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let provider = commits::update(request.revision, || self.update(&call, request.clone())).await?;
        Ok(Response::new(admin::UpdateProviderResponse {
            provider: Some(convert::provider(provider)),
        }))
    }

    async fn delete_provider(
        &self,
        request: Request<admin::DeleteProviderRequest>,
    ) -> Result<Response<admin::DeleteProviderResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        commits::update(request.revision, || self.delete(&call, request.clone())).await?;
        Ok(Response::new(admin::DeleteProviderResponse {}))
    }

    async fn test_provider(
        &self,
        request: Request<admin::TestProviderRequest>,
    ) -> Result<Response<admin::TestProviderResponse>, Status> {
        Ok(Response::new(self.test(request.into_inner()).await?))
    }
}

impl Providers {
    async fn create(
        &self,
        call: &Call,
        request: admin::CreateProviderRequest,
    ) -> Result<Stored<Provider>, Error> {
        let admin::CreateProviderRequest {
            provider,
            secrets,
            idempotency_key,
        } = request;
        // Secrets are no part of the fingerprint: a weak one could be guessed from it.
        let fingerprinted = admin::CreateProviderRequest {
            provider: provider.clone(),
            ..Default::default()
        };
        let (spec, secrets) = check_new(provider.unwrap_or_default(), secrets.unwrap_or_default())?;
        let result = spec.name.as_str();
        let idempotency =
            commits::idempotency(call.caller.user_id, &idempotency_key, &fingerprinted, result)?;
        let credentials = self.sealed(&spec, &secrets)?;
        let provider = Provider {
            spec,
            credentials,
            times: Times::new(call.now),
        };
        let audit = call
            .audit(&target(&provider.spec))
            .with_summaries(None, Some(summary::provider(&provider)));
        let change = Change::PutProvider(provider.clone(), Expect::Absent);
        match self.commits.create(vec![change], audit, idempotency).await? {
            Created::New { revision } => Ok(Stored {
                value: provider,
                revision,
            }),
            Created::Before { id } => self.stored(&id).await,
        }
    }

    async fn update(
        &self,
        call: &Call,
        request: admin::UpdateProviderRequest,
    ) -> Result<Stored<Provider>, Error> {
        let admin::UpdateProviderRequest {
            provider,
            update_mask,
            secrets,
            revision,
        } = request;
        let wire = provider.unwrap_or_default();
        let before = self.stored(&wire.name).await?;
        let mut draft = before.value.spec.to_draft();
        let mut violations = Violations::default();
        let mut set = |path: &str| set(&mut draft, path, &wire, &mut violations);
        match &secrets {
            Some(_) => mask::apply_any(update_mask, &mut set)?,
            None => mask::apply(update_mask, &mut set)?,
        }
        let spec = checked(&draft, &mut violations);
        let secrets = secrets.map(|secrets| checked_secrets(secrets, &mut violations));
        let spec = violations.finish(spec)?;
        let credentials = match secrets.flatten() {
            Some(secrets) => Some(self.sealed(&spec, &secrets)?),
            None => None,
        };
        let after = before.value.clone().with_spec(spec, credentials, call.now);
        let after = after.map_err(|needed| Error::Precondition(needed.to_string()))?;
        let audit = call.audit(&target(&after.spec)).with_summaries(
            Some(summary::provider(&before.value)),
            Some(summary::provider(&after)),
        );
        let change = Change::PutProvider(after.clone(), commits::expect(revision, before.revision));
        let revision = self.commits.commit(vec![change], audit).await?;
        Ok(Stored {
            value: after,
            revision,
        })
    }

    async fn delete(&self, call: &Call, request: admin::DeleteProviderRequest) -> Result<(), Error> {
        let admin::DeleteProviderRequest {
            name,
            revision,
            force,
        } = request;
        let provider = self.stored(&name).await?.value;
        let mut rules = if force {
            self.store.model_rules().await?
        } else {
            Vec::new()
        };
        rules.retain(|rule| rule.value.provider() == Some(&provider.spec.name));
        let audit = call
            .audit(&target(&provider.spec))
            .with_summaries(Some(summary::provider_and_rules(&provider, &rules)), None);
        let mut changes: Vec<_> = rules
            .into_iter()
            .map(|rule| Change::DeleteModelRule(rule.value.id, Expect::Revision(rule.revision)))
            .collect();
        changes.push(Change::DeleteProvider(
            provider.spec.name,
            commits::expect_any(revision),
        ));
        self.commits.commit(changes, audit).await?;
        Ok(())
    }

    async fn test(&self, request: admin::TestProviderRequest) -> Result<admin::TestProviderResponse, Error> {
        let admin::TestProviderRequest { name, model, timeout } = request;
        let timeout = duration::parse("timeout", timeout, TEST_TIMEOUT_DEFAULT, TEST_TIMEOUT_MAX)?;
        let Stored {
            value: Provider { spec, .. },
            revision,
        } = self.stored(&name).await?;
        if !spec.enabled {
            return Err(Error::Precondition(
                "the provider is disabled: data planes do not know it".to_owned(),
            ));
        }
        let model = match model.as_str() {
            "" => spec.models.by_tier.first().cloned(),
            _ => Some(check_model(&model)?),
        };
        let target = Target {
            provider: name,
            model: model
                .as_ref()
                .map(|model| model.as_str().to_owned())
                .unwrap_or_default(),
            revision,
        };
        let (node, result) = self.probes.run(&self.peers, target, timeout).await?;
        if let Some(model) = model.clone() {
            let subject = Subject {
                provider: spec.name,
                model,
                revision,
            };
            self.checks.keep(subject, &node, result.clone()).await;
        }
        let bridge_proto::fleet::v1::ProbeResult {
            probe_id: _,
            ok,
            latency,
            http_status,
            error_class,
            message,
        } = result;
        Ok(admin::TestProviderResponse {
            ok,
            latency,
            http_status,
            error_class,
            message,
            node_id: node.to_string(),
            model: model.map(|model| model.as_str().to_owned()).unwrap_or_default(),
        })
    }

    async fn stored(&self, name: &str) -> Result<Stored<Provider>, Error> {
        let missing = || Error::NotFound {
            kind: Kind::Provider,
            id: name.to_owned(),
        };
        let parsed =
            ProviderName::parse(name).map_err(|reason| Error::invalid("name", reason.to_string()))?;
        self.store.provider(&parsed).await?.ok_or_else(missing)
    }

    fn sealed(&self, spec: &Spec, secrets: &PlainSecrets) -> Result<Credentials, Error> {
        Ok(self
            .keyring
            .seal_provider(&spec.name, &spec.endpoint.base_url, secrets)?)
    }
}

fn check_model(model: &str) -> Result<ModelName, Error> {
    ModelName::parse(model).map_err(|reason| Error::invalid("model", reason.to_string()))
}

fn is_asked_for(spec: &Spec, request: &admin::ListProvidersRequest) -> bool {
    matches_query(
        &request.query,
        &[spec.name.as_str(), spec.endpoint.base_url.as_str()],
    ) && request.enabled.is_none_or(|asked| asked == spec.enabled)
}

fn target(spec: &Spec) -> String {
    format!("{}/{}", Kind::Provider, spec.name)
}

/// Reports the violations of all parts together.
fn check_new(
    provider: admin::Provider,
    secrets: admin::ProviderSecrets,
) -> Result<(Spec, PlainSecrets), Error> {
    let mut violations = Violations::default();
    let draft = violations.check("provider.api_format", convert::provider_draft(provider));
    let spec = draft.and_then(|draft| checked(&draft, &mut violations));
    let secrets = checked_secrets(secrets, &mut violations);
    Ok(violations.finish(spec.zip(secrets))?)
}

fn checked(draft: &Draft, violations: &mut Violations) -> Option<Spec> {
    let spec = draft.check();
    spec.map_err(|part| violations.nest("provider", part)).ok()
}

fn checked_secrets(secrets: admin::ProviderSecrets, violations: &mut Violations) -> Option<PlainSecrets> {
    let secrets = convert::secrets_draft(secrets).check();
    secrets.map_err(|part| violations.nest("secrets", part)).ok()
}

fn set(
    draft: &mut Draft,
    path: &str,
    wire: &admin::Provider,
    violations: &mut Violations,
) -> Result<(), UnknownPath> {
    match path {
        "enabled" => draft.enabled = wire.enabled,
        "priority" => draft.priority = wire.priority,
        "base_url" => draft.base_url.clone_from(&wire.base_url),
        "api_format" => {
            let api_format = convert::api_format(wire.api_format);
            if let Some(api_format) = violations.check("provider.api_format", api_format) {
                draft.api_format = api_format;
            }
        }
        "models" => draft.models = convert::models_draft(wire.models.clone()),
        "timeout" => draft.timeout_s = wire.timeout,
        "max_retries" => draft.max_retries = wire.max_retries,
        "max_tokens_limit" => draft.max_tokens_limit = wire.max_tokens_limit,
        "dialect" => draft.dialect.clone_from(&wire.dialect),
        "dialect_overrides" => draft.dialect_overrides = dialect::draft(wire.dialect_overrides.clone()),
        "model_options" => draft.model_options = convert::model_options_draft(wire.model_options.clone()),
        _ => return set_knob(draft, path, wire),
    }
    Ok(())
}

/// Sets a single knob, or takes it back if the caller's is absent.
fn set_knob(draft: &mut Draft, path: &str, wire: &admin::Provider) -> Result<(), UnknownPath> {
    let name = path
        .strip_prefix("dialect_overrides.")
        .filter(|name| is_knob(name));
    let name = name.ok_or(UnknownPath)?;
    match dialect::draft(wire.dialect_overrides.clone()).remove(name) {
        Some(value) => draft.dialect_overrides.insert(name.to_owned(), value),
        None => draft.dialect_overrides.remove(name),
    };
    Ok(())
}
