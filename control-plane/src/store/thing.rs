//! A thing whose states are kept: what is configured for good, and data planes are told about.

use super::Kind;
use crate::domain::{
    api_key::{ApiKey, KeyHash},
    model::ModelRule,
    provider::{Credentials, Provider},
    settings::Settings,
};

#[derive(Debug, Clone, PartialEq)]
pub enum Thing {
    Provider(Provider),
    ApiKey(ApiKey),
    ModelRule(ModelRule),
    Settings(Settings),
}

/// How audit and history name a thing, such as `provider/qwen`.
#[must_use]
pub fn target(kind: Kind, id: &str) -> String {
    match kind {
        Kind::Settings => kind.to_string(),
        Kind::User
        | Kind::ServiceToken
        | Kind::JoinToken
        | Kind::Node
        | Kind::Provider
        | Kind::ApiKey
        | Kind::ModelRule
        | Kind::BreakerOverride => {
            format!("{kind}/{id}")
        }
    }
}

impl Thing {
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Provider(_) => Kind::Provider,
            Self::ApiKey(_) => Kind::ApiKey,
            Self::ModelRule(_) => Kind::ModelRule,
            Self::Settings(_) => Kind::Settings,
        }
    }

    /// The settings have the empty one.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Provider(provider) => provider.spec.name.to_string(),
            Self::ApiKey(key) => key.id.to_string(),
            Self::ModelRule(rule) => rule.id.to_string(),
            Self::Settings(_) => String::new(),
        }
    }

    /// The same without what must not be kept of it: its secrets, and the hash of a key.
    #[must_use]
    pub fn without_secrets(self) -> Self {
        match self {
            Self::Provider(provider) => {
                let credentials = Credentials {
                    sealed: None,
                    api_key_hint: String::new(),
                    ..provider.credentials
                };
                Self::Provider(Provider {
                    credentials,
                    ..provider
                })
            }
            Self::ApiKey(key) => Self::ApiKey(ApiKey {
                hash: KeyHash::from_bytes([0; 32]),
                ..key
            }),
            Self::ModelRule(_) | Self::Settings(_) => self,
        }
    }
}
