//! What can be written, how it is asked for, and what it changes.

use std::collections::BTreeSet;

use bridge_proto::admin::v1::model_rule::Target;
use bridge_proto::admin::v1::{
    ApiKey, ApplyRequest, CreateApiKeyRequest, CreateModelRuleRequest, CreateProviderRequest,
    CreateUserRequest, DeleteApiKeyRequest, DeleteModelRuleRequest, DeleteProviderRequest, DeleteUserRequest,
    ModelRule, Provider, RevokeApiKeyRequest, Role, Settings, Tier, UpdateApiKeyRequest,
    UpdateProviderRequest, UpdateSettingsRequest, UpdateUserRequest, User,
};
use tonic::Status;

use super::look::{Known, SETTINGS, of_key, of_provider, of_rule, of_settings, of_user};
use crate::admin::{self, Admin, PASSWORD};

#[derive(Debug, Clone)]
pub(super) enum Write {
    CreateKey(String),
    SetKeyEnabled(String, bool),
    RevokeKey(String),
    DeleteKey(String),
    CreateUser(String),
    SetUserEnabled(String, bool),
    DeleteUser(String),
    CreateProvider(String),
    SetPriority(String, i32),
    DeleteProvider(String),
    CreateRule(String),
    DeleteRule(String),
    SetCurrency(String),
    /// A provider and a rule of this name, and a currency, in one change.
    Import {
        name: String,
        currency: String,
    },
}

impl Write {
    /// Makes a change, and says what is known after it; `None`: it is gone.
    pub(super) async fn make(
        &self,
        admin: &Admin,
        id: impl Fn(String) -> String,
    ) -> Result<Vec<(String, Option<Known>)>, Status> {
        let changed = match self.clone() {
            Write::CreateKey(name) => {
                let request = CreateApiKeyRequest {
                    idempotency_key: name.clone(),
                    name,
                    ..CreateApiKeyRequest::default()
                };
                let made = admin.keys().create_api_key(request).await?.into_inner();
                made.api_key.map(of_key)
            }
            Write::SetKeyEnabled(name, enabled) => {
                let id = id(format!("key/{name}"));
                let request = UpdateApiKeyRequest {
                    api_key: Some(ApiKey {
                        id,
                        enabled,
                        ..ApiKey::default()
                    }),
                    update_mask: Some(admin::mask("enabled")),
                    revision: 0,
                };
                let made = admin.keys().update_api_key(request).await?.into_inner();
                made.api_key.map(of_key)
            }
            Write::RevokeKey(name) => {
                let id = id(format!("key/{name}"));
                let request = RevokeApiKeyRequest {
                    id,
                    ..RevokeApiKeyRequest::default()
                };
                let made = admin.keys().revoke_api_key(request).await?.into_inner();
                made.api_key.map(of_key)
            }
            Write::DeleteKey(name) => {
                let id = id(format!("key/{name}"));
                let request = DeleteApiKeyRequest { id, revision: 0 };
                admin.keys().delete_api_key(request).await?;
                None
            }
            Write::CreateUser(email) => {
                let request = CreateUserRequest {
                    idempotency_key: email.clone(),
                    name: email.clone(),
                    email,
                    role: Role::User.into(),
                    password: PASSWORD.to_owned(),
                    ..CreateUserRequest::default()
                };
                let made = admin.users().create_user(request).await?.into_inner();
                made.user.map(of_user)
            }
            Write::SetUserEnabled(email, enabled) => {
                let id = id(format!("user/{email}"));
                let request = UpdateUserRequest {
                    user: Some(User {
                        id,
                        enabled,
                        ..User::default()
                    }),
                    update_mask: Some(admin::mask("enabled")),
                    revision: 0,
                };
                let made = admin.users().update_user(request).await?.into_inner();
                made.user.map(of_user)
            }
            Write::DeleteUser(email) => {
                let id = id(format!("user/{email}"));
                admin
                    .users()
                    .delete_user(DeleteUserRequest { id, revision: 0 })
                    .await?;
                None
            }
            Write::CreateProvider(name) => {
                let request = CreateProviderRequest {
                    provider: Some(admin::provider(&name, "http://127.0.0.1:1/v1", "m")),
                    idempotency_key: name,
                    ..CreateProviderRequest::default()
                };
                let made = admin.providers().create_provider(request).await?.into_inner();
                made.provider.map(of_provider)
            }
            Write::SetPriority(name, priority) => {
                let request = UpdateProviderRequest {
                    provider: Some(Provider {
                        name,
                        priority,
                        ..Provider::default()
                    }),
                    update_mask: Some(admin::mask("priority")),
                    ..UpdateProviderRequest::default()
                };
                let made = admin.providers().update_provider(request).await?.into_inner();
                made.provider.map(of_provider)
            }
            Write::DeleteProvider(name) => {
                let request = DeleteProviderRequest {
                    name,
                    revision: 0,
                    force: false,
                };
                admin.providers().delete_provider(request).await?;
                None
            }
            Write::CreateRule(pattern) => {
                let idempotency_key = pattern.clone();
                let rule = ModelRule {
                    r#match: pattern,
                    target: Some(Target::Tier(Tier::Big.into())),
                    ..ModelRule::default()
                };
                let request = CreateModelRuleRequest {
                    rule: Some(rule),
                    idempotency_key,
                };
                let made = admin.models().create_model_rule(request).await?.into_inner();
                made.rule.map(of_rule)
            }
            Write::DeleteRule(pattern) => {
                let id = id(format!("rule/{pattern}"));
                let request = DeleteModelRuleRequest { id, revision: 0 };
                admin.models().delete_model_rule(request).await?;
                None
            }
            Write::SetCurrency(currency) => {
                let request = UpdateSettingsRequest {
                    settings: Some(Settings {
                        currency,
                        ..Settings::default()
                    }),
                    update_mask: Some(admin::mask("currency")),
                    revision: 0,
                };
                let made = admin.settings().update_settings(request).await?.into_inner();
                made.settings.map(of_settings)
            }
            Write::Import { name, currency } => {
                let file = serde_json::json!({
                    "providers": [{"name": name, "base_url": "http://127.0.0.1:1/v1", "models": {"small": ["m"]}}],
                    "model_rules": [{"match": name, "tier": "small"}],
                    "currency": currency,
                });
                let request = ApplyRequest {
                    file: file.to_string(),
                    idempotency_key: name,
                    ..ApplyRequest::default()
                };
                let revision = admin.config().apply(request).await?.into_inner().revision;
                let labels = self.labels().into_iter();
                return Ok(labels.map(|label| (label, Some(Known::at(revision)))).collect());
            }
        };
        let gone = || self.labels().into_iter().map(|label| (label, None)).collect();
        Ok(changed.map_or_else(gone, |(label, known)| vec![(label, Some(known))]))
    }

    /// What it changes.
    pub(super) fn labels(&self) -> BTreeSet<String> {
        let labels = match self {
            Self::CreateKey(name)
            | Self::SetKeyEnabled(name, _)
            | Self::RevokeKey(name)
            | Self::DeleteKey(name) => vec![format!("key/{name}")],
            Self::CreateUser(email) | Self::SetUserEnabled(email, _) | Self::DeleteUser(email) => {
                vec![format!("user/{email}")]
            }
            Self::CreateProvider(name) | Self::SetPriority(name, _) | Self::DeleteProvider(name) => {
                vec![format!("provider/{name}")]
            }
            Self::CreateRule(pattern) | Self::DeleteRule(pattern) => vec![format!("rule/{pattern}")],
            Self::SetCurrency(_) => vec![SETTINGS.to_owned()],
            Self::Import { name, .. } => {
                vec![
                    format!("provider/{name}"),
                    format!("rule/{name}"),
                    SETTINGS.to_owned(),
                ]
            }
        };
        labels.into_iter().collect()
    }

    /// With its idempotency key it is done once, however often it is asked for.
    pub(super) fn can_be_repeated(&self) -> bool {
        matches!(
            self,
            Self::CreateKey(_)
                | Self::CreateUser(_)
                | Self::CreateProvider(_)
                | Self::CreateRule(_)
                | Self::Import { .. }
        )
    }

    pub(super) fn deletes(&self) -> bool {
        matches!(
            self,
            Self::DeleteKey(_) | Self::DeleteUser(_) | Self::DeleteProvider(_) | Self::DeleteRule(_)
        )
    }
}
