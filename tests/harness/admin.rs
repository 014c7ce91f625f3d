//! The admin API as a typed client: gRPC over HTTP/2, one token for every call.

use anyhow::{Context, Result};
use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::audit_service_client::AuditServiceClient;
use bridge_proto::admin::v1::auth_service_client::AuthServiceClient;
use bridge_proto::admin::v1::config_service_client::ConfigServiceClient;
use bridge_proto::admin::v1::fleet_service_client::FleetServiceClient;
use bridge_proto::admin::v1::health_service_client::HealthServiceClient;
use bridge_proto::admin::v1::model_service_client::ModelServiceClient;
use bridge_proto::admin::v1::playground_service_client::PlaygroundServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::routing_service_client::RoutingServiceClient;
use bridge_proto::admin::v1::service_token_service_client::ServiceTokenServiceClient;
use bridge_proto::admin::v1::settings_service_client::SettingsServiceClient;
use bridge_proto::admin::v1::stats_service_client::StatsServiceClient;
use bridge_proto::admin::v1::user_service_client::UserServiceClient;
use bridge_proto::admin::v1::{
    ApiFormat, ApiKey, CreateApiKeyRequest, CreateModelRuleRequest, CreateProviderRequest,
    GetProviderRequest, GetSettingsRequest, ListModelsRequest, LoginRequest, LossPolicy, Model, ModelRule,
    Provider, ProviderSecrets, Settings, TierModels, UpdateApiKeyRequest, UpdateModelRuleRequest,
    UpdateProviderRequest, UpdateSettingsRequest, UpstreamModel, model_rule::Target,
};
use prost_types::FieldMask;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::canary::{self, secret_of};

pub const EMAIL: &str = "admin@example.com";
pub const PASSWORD: &str = "long enough for every rule 7391";

/// The secret of every provider that a scenario makes.
pub const UPSTREAM_KEY: &str = "sk-upstream-canary-5e1f";

type Authorized = InterceptedService<Channel, Bearer>;

#[derive(Clone)]
pub struct Admin {
    channel: Channel,
    bearer: Bearer,
}

#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

// === impl Admin ===

impl Admin {
    /// Connects and logs in as the first admin.
    pub async fn login(address: &str) -> Result<Self> {
        Self::login_as(address, EMAIL, PASSWORD).await
    }

    pub async fn login_as(address: &str, email: &str, password: &str) -> Result<Self> {
        canary::remember("a password", password);
        let channel = connect(address).await?;
        let request = LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
        };
        let answer = AuthServiceClient::new(channel.clone()).login(request).await;
        let token = answer.context("cannot log in")?.into_inner().access_token;
        Ok(Self {
            channel,
            bearer: Bearer::parse(&token)?,
        })
    }

    pub fn auth(&self) -> AuthServiceClient<Authorized> {
        AuthServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn users(&self) -> UserServiceClient<Authorized> {
        UserServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn keys(&self) -> ApiKeyServiceClient<Authorized> {
        ApiKeyServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn providers(&self) -> ProviderServiceClient<Authorized> {
        ProviderServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn models(&self) -> ModelServiceClient<Authorized> {
        ModelServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn health(&self) -> HealthServiceClient<Authorized> {
        HealthServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn routing(&self) -> RoutingServiceClient<Authorized> {
        RoutingServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn stats(&self) -> StatsServiceClient<Authorized> {
        StatsServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn settings(&self) -> SettingsServiceClient<Authorized> {
        SettingsServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn audit(&self) -> AuditServiceClient<Authorized> {
        AuditServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn config(&self) -> ConfigServiceClient<Authorized> {
        ConfigServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn service_tokens(&self) -> ServiceTokenServiceClient<Authorized> {
        ServiceTokenServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn playground(&self) -> PlaygroundServiceClient<Authorized> {
        PlaygroundServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    pub fn fleet(&self) -> FleetServiceClient<Authorized> {
        FleetServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// The same channel, for whoever has this token.
    pub fn speaking_as(&self, token: &str) -> Result<Self> {
        Ok(Self {
            channel: self.channel.clone(),
            bearer: Bearer::parse(token)?,
        })
    }

    /// The access token, for clients that are not made of this crate.
    pub fn token(&self) -> Result<String> {
        let header = self.bearer.0.to_str()?;
        Ok(header.trim_start_matches("Bearer ").to_owned())
    }

    /// A new key and its record; the key is told only here.
    pub async fn create_key(&self, name: &str) -> Result<(String, ApiKey)> {
        let request = CreateApiKeyRequest {
            name: name.to_owned(),
            ..CreateApiKeyRequest::default()
        };
        let answer = self.keys().create_api_key(request).await?.into_inner();
        let record = answer.api_key.context("a created key has no record")?;
        canary::remember("an API key", secret_of(&answer.key));
        Ok((answer.key, record))
    }

    pub async fn set_loss_policy(&self, record: &ApiKey, policy: LossPolicy) -> Result<ApiKey> {
        let request = UpdateApiKeyRequest {
            api_key: Some(ApiKey {
                loss_policy: policy.into(),
                ..record.clone()
            }),
            update_mask: Some(mask("loss_policy")),
            revision: record.revision,
        };
        let answer = self.keys().update_api_key(request).await?.into_inner();
        answer.api_key.context("an updated key has no record")
    }

    pub async fn set_key_enabled(&self, record: &ApiKey, is_enabled: bool) -> Result<ApiKey> {
        let request = UpdateApiKeyRequest {
            api_key: Some(ApiKey {
                enabled: is_enabled,
                ..record.clone()
            }),
            update_mask: Some(mask("enabled")),
            revision: record.revision,
        };
        let answer = self.keys().update_api_key(request).await?.into_inner();
        answer.api_key.context("an updated key has no record")
    }

    pub async fn create_provider(&self, provider: Provider) -> Result<Provider> {
        canary::remember("a provider's key", UPSTREAM_KEY);
        let request = CreateProviderRequest {
            provider: Some(provider),
            secrets: Some(ProviderSecrets {
                api_key: UPSTREAM_KEY.to_owned(),
                ..ProviderSecrets::default()
            }),
            idempotency_key: String::new(),
        };
        let answer = self.providers().create_provider(request).await?.into_inner();
        answer.provider.context("a created provider has no record")
    }

    pub async fn get_provider(&self, name: &str) -> Result<Provider> {
        let request = GetProviderRequest {
            name: name.to_owned(),
        };
        let answer = self.providers().get_provider(request).await?.into_inner();
        answer.provider.context("a provider has no record")
    }

    pub async fn update_provider(&self, provider: Provider, field: &str) -> Result<Provider> {
        let request = UpdateProviderRequest {
            revision: provider.revision,
            provider: Some(provider),
            update_mask: Some(mask(field)),
            secrets: None,
        };
        let answer = self.providers().update_provider(request).await?.into_inner();
        answer.provider.context("an updated provider has no record")
    }

    /// A new rule behind all others.
    pub async fn create_rule(&self, pattern: &str, target: Target) -> Result<ModelRule> {
        let request = CreateModelRuleRequest {
            rule: Some(ModelRule {
                r#match: pattern.to_owned(),
                target: Some(target),
                ..ModelRule::default()
            }),
            idempotency_key: String::new(),
        };
        let answer = self.models().create_model_rule(request).await?.into_inner();
        answer.rule.context("a created rule has no record")
    }

    /// Moves a rule to a place of the list, from 1.
    pub async fn move_rule(&self, rule: &ModelRule, position: u32) -> Result<ModelRule> {
        let request = UpdateModelRuleRequest {
            rule: Some(ModelRule {
                position,
                ..rule.clone()
            }),
            update_mask: Some(mask("position")),
            revision: 0,
        };
        let answer = self.models().update_model_rule(request).await?.into_inner();
        answer.rule.context("a moved rule has no record")
    }

    /// The names that can be asked for.
    pub async fn list_models(&self) -> Result<Vec<Model>> {
        let request = ListModelsRequest {
            page_size: 1000,
            ..ListModelsRequest::default()
        };
        Ok(self.models().list_models(request).await?.into_inner().models)
    }

    /// Off, a provider's failures have no memory: breaker, quarantine and cool-down alike.
    pub async fn set_breaker_enabled(&self, is_enabled: bool) -> Result<Settings> {
        let mut settings = self.get_settings().await?;
        let breaker = settings.circuit_breaker.get_or_insert_default();
        breaker.enabled = is_enabled;
        self.update_settings(settings, "circuit_breaker").await
    }

    pub async fn get_settings(&self) -> Result<Settings> {
        let request = GetSettingsRequest::default();
        let answer = self.settings().get_settings(request).await?.into_inner();
        answer.settings.context("there are no settings")
    }

    pub async fn update_settings(&self, settings: Settings, field: &str) -> Result<Settings> {
        let request = UpdateSettingsRequest {
            revision: settings.revision,
            settings: Some(settings),
            update_mask: Some(mask(field)),
        };
        let answer = self.settings().update_settings(request).await?.into_inner();
        answer.settings.context("updated settings have no record")
    }
}

/// An enabled OpenAI-compatible provider that offers one model in every tier.
pub fn provider(name: &str, base_url: &str, model: &str) -> Provider {
    let models = vec![model.to_owned()];
    Provider {
        name: name.to_owned(),
        enabled: true,
        priority: 1,
        api_format: ApiFormat::Openai.into(),
        base_url: base_url.to_owned(),
        models: Some(TierModels {
            big: models.clone(),
            middle: models.clone(),
            small: models,
        }),
        timeout: 10,
        ..Provider::default()
    }
}

/// A model of a provider, as the target of a rule; `*` keeps the name that was asked for.
pub fn upstream(provider: &str, model: &str) -> Target {
    Target::Upstream(UpstreamModel {
        provider: provider.to_owned(),
        model: model.to_owned(),
    })
}

/// A mask of one field.
pub fn mask(field: &str) -> FieldMask {
    FieldMask {
        paths: vec![field.to_owned()],
    }
}

/// A channel to a gRPC listener on loopback.
pub async fn connect(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let channel = endpoint.connect().await;
    channel.with_context(|| format!("cannot connect to {address}"))
}

// === impl Bearer ===

impl Bearer {
    pub fn parse(token: &str) -> Result<Self> {
        canary::remember("a token", secret_of(token));
        Ok(Self(format!("Bearer {token}").parse()?))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert("authorization", self.0.clone());
        Ok(request)
    }
}
