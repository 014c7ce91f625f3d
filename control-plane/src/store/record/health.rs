//! What a check of a model has shown.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Persist, from_ms, reason, to_ms};
use crate::{
    domain::{
        health::{Check, Failure},
        model::ModelName,
        provider::ProviderName,
    },
    store::family::Family,
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct CheckRecord {
    provider: String,
    model: String,
    at_ms: u64,
    latency_us: u64,
    node: String,
    http_status: u32,
    failure: Option<FailureRecord>,
}

#[derive(Serialize, Deserialize)]
struct FailureRecord {
    class: String,
    message: String,
}

impl Persist for Check {
    type Record = CheckRecord;
    const FAMILY: Family = Family::HealthChecks;

    /// Begins with the provider, so that a provider's checks lie together.
    fn key(&self) -> Vec<u8> {
        let mut key = checks_of(&self.provider);
        key.extend(self.model.as_str().as_bytes());
        key
    }

    fn to_record(&self) -> CheckRecord {
        let Self {
            provider,
            model,
            at,
            latency,
            node,
            http_status,
            failure,
        } = self;
        CheckRecord {
            provider: provider.to_string(),
            model: model.as_str().to_owned(),
            at_ms: to_ms(*at),
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            node: node.clone(),
            http_status: *http_status,
            failure: failure.as_ref().map(|Failure { class, message }| FailureRecord {
                class: class.clone(),
                message: message.clone(),
            }),
        }
    }

    fn from_record(record: CheckRecord) -> Result<Self, String> {
        let CheckRecord {
            provider,
            model,
            at_ms,
            latency_us,
            node,
            http_status,
            failure,
        } = record;
        Ok(Self {
            provider: ProviderName::parse(&provider).map_err(reason)?,
            model: ModelName::parse(&model).map_err(reason)?,
            at: from_ms(at_ms)?,
            latency: Duration::from_micros(latency_us),
            node,
            http_status,
            failure: failure.map(|FailureRecord { class, message }| Failure { class, message }),
        })
    }
}

/// What the keys of a provider's checks begin with. A name has no space.
pub(in crate::store) fn checks_of(provider: &ProviderName) -> Vec<u8> {
    let mut prefix = provider.as_str().as_bytes().to_vec();
    prefix.push(b' ');
    prefix
}
