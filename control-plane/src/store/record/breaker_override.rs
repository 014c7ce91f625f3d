//! Held breakers.

use serde::{Deserialize, Serialize};

use super::{Persist, from_ms, reason, to_ms};
use crate::{
    domain::{
        breaker_override::{BreakerOverride, Held, OverrideId, Spec},
        model::ModelName,
        provider::ProviderName,
        user::UserId,
    },
    store::family::Family,
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct BreakerOverrideRecord {
    id: String,
    maker: String,
    provider: String,
    /// Absent: all models.
    model: Option<String>,
    held: String,
    expires_ms: u64,
    reason: String,
    created_ms: u64,
}

impl Persist for BreakerOverride {
    type Record = BreakerOverrideRecord;
    const FAMILY: Family = Family::BreakerOverrides;

    fn key(&self) -> Vec<u8> {
        self.id.as_str().as_bytes().to_vec()
    }

    fn to_record(&self) -> BreakerOverrideRecord {
        let Self {
            id,
            maker,
            spec:
                Spec {
                    provider,
                    model,
                    held,
                    expires_at,
                    reason,
                },
            created_at,
        } = self;
        BreakerOverrideRecord {
            id: id.to_string(),
            maker: maker.to_string(),
            provider: provider.to_string(),
            model: model.as_ref().map(|model| model.as_str().to_owned()),
            held: held.as_str().to_owned(),
            expires_ms: to_ms(*expires_at),
            reason: reason.clone(),
            created_ms: to_ms(*created_at),
        }
    }

    fn from_record(record: BreakerOverrideRecord) -> Result<Self, String> {
        let BreakerOverrideRecord {
            id,
            maker,
            provider,
            model,
            held,
            expires_ms,
            reason: why,
            created_ms,
        } = record;
        let model = model.map(|model| ModelName::parse(&model).map_err(reason));
        let spec = Spec {
            provider: ProviderName::parse(&provider).map_err(reason)?,
            model: model.transpose()?,
            held: Held::parse(&held).map_err(reason)?,
            expires_at: from_ms(expires_ms)?,
            reason: why,
        };
        Ok(Self {
            id: OverrideId::parse(&id).map_err(reason)?,
            maker: UserId::parse(&maker).map_err(reason)?,
            spec,
            created_at: from_ms(created_ms)?,
        })
    }
}
