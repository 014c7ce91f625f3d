//! The upstreams that requests may go to.

use std::time::SystemTime;

use super::{FieldViolation, Times, Violations, endpoint, model_options, overrides};
pub use super::{
    base_url::BaseUrl,
    dialect::Dialect,
    endpoint::{ApiFormat, Endpoint},
    model_options::{Draft as ModelOptionsDraft, ModelOptions},
    name::ProviderName,
    overrides::{Draft as OverridesDraft, Overrides, Value as KnobValue, is_knob},
    provider_models::{Models, ModelsDraft, TierModels},
    provider_secrets::{Credentials, HeaderName, PlainSecrets, SealedField, SealedSecrets, SecretsDraft},
};

/// Priorities lie within ± this.
const PRIORITY_MAX: i32 = 1_000_000;
const TIMEOUT_S_MAX: u32 = 3_600;
const RETRIES_MAX: u32 = 10;
/// Most that models, knobs and model options may take together, in bytes, so that the
/// record with the secrets stays below the store's limit.
const WEIGHT_MAX: usize = 7 * 1024;

/// Forwards the caller's own credential, which only a native provider knows.
const CLIENT_AUTH: &str = "client";

/// A provider as somebody writes it, not yet checked and without its secrets.
#[derive(Debug, Clone)]
pub struct Draft {
    pub name: String,
    pub enabled: bool,
    pub priority: i32,
    pub api_format: ApiFormat,
    pub base_url: String,
    /// Empty: guessed from `api_format` and `base_url`.
    pub dialect: String,
    pub dialect_overrides: OverridesDraft,
    pub models: ModelsDraft,
    pub model_options: Vec<ModelOptionsDraft>,
    /// 0: the data plane's default.
    pub timeout_s: u32,
    pub max_retries: Option<u32>,
    pub max_tokens_limit: Option<u32>,
}

impl Draft {
    pub fn check(&self) -> Result<Spec, Vec<FieldViolation>> {
        let Self {
            name,
            enabled,
            priority,
            api_format,
            base_url,
            dialect,
            dialect_overrides,
            models,
            model_options,
            timeout_s,
            max_retries,
            max_tokens_limit,
        } = self;
        let mut violations = Violations::default();
        let name = violations.check("name", ProviderName::parse(name));
        if priority.unsigned_abs() > PRIORITY_MAX.unsigned_abs() {
            violations.add("priority", format!("must be -{PRIORITY_MAX} to {PRIORITY_MAX}"));
        }
        let endpoint = endpoint::check(&mut violations, *api_format, base_url, dialect);
        let base_url = endpoint.as_ref().map(|endpoint| &endpoint.base_url);
        let dialect_overrides =
            overrides::check_provider(&mut violations, "dialect_overrides", dialect_overrides, base_url);
        let forwards_credentials =
            dialect_overrides.get("auth") == Some(&KnobValue::Text(CLIENT_AUTH.to_owned()));
        if forwards_credentials && *api_format == ApiFormat::Openai {
            violations.add(
                "dialect_overrides.auth",
                "client is for providers with api_format anthropic",
            );
        }
        let models = Models {
            by_tier: models.check(&mut violations),
            options: model_options::check(&mut violations, model_options),
        };
        if models.weight() + dialect_overrides.weight() > WEIGHT_MAX {
            violations.add(
                "model_options",
                format!("must be smaller: with models and dialect_overrides at most {WEIGHT_MAX} bytes"),
            );
        }
        let limits = Limits {
            timeout_s: *timeout_s,
            max_retries: *max_retries,
            max_tokens_limit: *max_tokens_limit,
        };
        limits.check(&mut violations);
        let spec = name.zip(endpoint).map(|(name, endpoint)| Spec {
            name,
            enabled: *enabled,
            priority: *priority,
            endpoint,
            dialect_overrides,
            models,
            limits,
        });
        violations.finish(spec)
    }
}

#[cfg(test)]
impl Draft {
    /// An enabled provider with one model, `m`, of which nothing else is said.
    pub(crate) fn plain(name: &str, base_url: &str) -> Self {
        Self {
            name: name.to_owned(),
            enabled: true,
            priority: 1,
            api_format: ApiFormat::Openai,
            base_url: base_url.to_owned(),
            dialect: String::new(),
            dialect_overrides: OverridesDraft::new(),
            models: ModelsDraft {
                big: vec!["m".to_owned()],
                ..ModelsDraft::default()
            },
            model_options: Vec::new(),
            timeout_s: 0,
            max_retries: None,
            max_tokens_limit: None,
        }
    }
}

/// How long and how often an upstream is asked, and for how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Seconds to the first byte and between bytes; 0: the data plane's default.
    pub timeout_s: u32,
    pub max_retries: Option<u32>,
    pub max_tokens_limit: Option<u32>,
}

impl Limits {
    fn check(self, violations: &mut Violations) {
        let Self {
            timeout_s,
            max_retries,
            max_tokens_limit,
        } = self;
        if timeout_s > TIMEOUT_S_MAX {
            violations.add("timeout", format!("must be at most {TIMEOUT_S_MAX} seconds"));
        }
        if max_retries.is_some_and(|retries| retries > RETRIES_MAX) {
            violations.add("max_retries", format!("must be at most {RETRIES_MAX}"));
        }
        if max_tokens_limit == Some(0) {
            violations.add("max_tokens_limit", "must be at least 1");
        }
    }
}

/// What an admin decides about a provider, without its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    pub name: ProviderName,
    pub enabled: bool,
    /// Smaller is tried first.
    pub priority: i32,
    pub endpoint: Endpoint,
    pub dialect_overrides: Overrides,
    pub models: Models,
    pub limits: Limits,
}

impl Spec {
    #[must_use]
    pub fn to_draft(&self) -> Draft {
        let Self {
            name,
            enabled,
            priority,
            endpoint,
            dialect_overrides,
            models: Models { by_tier, options },
            limits,
        } = self;
        let Endpoint {
            api_format,
            base_url,
            chosen_dialect,
        } = endpoint;
        let Limits {
            timeout_s,
            max_retries,
            max_tokens_limit,
        } = limits;
        Draft {
            name: name.as_str().to_owned(),
            enabled: *enabled,
            priority: *priority,
            api_format: *api_format,
            base_url: base_url.as_str().to_owned(),
            dialect: chosen_dialect
                .map(|dialect| dialect.as_str().to_owned())
                .unwrap_or_default(),
            dialect_overrides: dialect_overrides.to_draft(),
            models: by_tier.to_draft(),
            model_options: options.iter().map(ModelOptions::to_draft).collect(),
            timeout_s: *timeout_s,
            max_retries: *max_retries,
            max_tokens_limit: *max_tokens_limit,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub spec: Spec,
    pub credentials: Credentials,
    pub times: Times,
}

/// Why secrets have to be entered again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("base_url moves from {from} to {to}: enter the secrets again, they were given for {from}")]
pub struct SecretsNeeded {
    pub from: String,
    pub to: String,
}

impl Provider {
    /// The same provider after an admin's change. `credentials` are new ones; without
    /// them the old ones stay, which a changed origin does not allow if there are any.
    pub fn with_spec(
        self,
        spec: Spec,
        credentials: Option<Credentials>,
        now: SystemTime,
    ) -> Result<Self, SecretsNeeded> {
        let (from, to) = (
            self.spec.endpoint.base_url.origin(),
            spec.endpoint.base_url.origin(),
        );
        if credentials.is_none() && self.credentials.sealed.is_some() && from != to {
            return Err(SecretsNeeded {
                from: from.to_owned(),
                to: to.to_owned(),
            });
        }
        let credentials = credentials.unwrap_or(self.credentials);
        Ok(Self {
            spec,
            credentials,
            times: self.times.touched(now),
        })
    }
}

#[cfg(test)]
mod tests;
