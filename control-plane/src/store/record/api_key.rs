//! API keys: their hashes, never the keys.

use serde::{Deserialize, Serialize};

use super::{
    LimitsRecord, Persist, TimesRecord, from_ms, hash_from_base64, reason, reasons, to_base64, to_ms,
};
use crate::{
    domain::{
        LossPolicy,
        api_key::{ApiKey, DisabledBy, Draft, KeyHash, KeyId},
        user::UserId,
    },
    store::family::Family,
};

const OWNER: &str = "owner";

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct ApiKeyRecord {
    id: String,
    hash: String,
    name: String,
    email: String,
    owner: String,
    enabled: bool,
    expires_ms: Option<u64>,
    allowed_models: Vec<String>,
    allowed_providers: Vec<String>,
    #[serde(default)]
    loss_policy: Option<String>,
    #[serde(default)]
    limits: Option<LimitsRecord>,
    #[serde(default)]
    successor: Option<String>,
    #[serde(default)]
    disabled_by: Option<String>,
    times: TimesRecord,
}

impl Persist for ApiKey {
    type Record = ApiKeyRecord;
    const FAMILY: Family = Family::ApiKeys;

    fn key(&self) -> Vec<u8> {
        self.id.as_str().as_bytes().to_vec()
    }

    fn to_record(&self) -> ApiKeyRecord {
        let Self {
            id,
            hash,
            spec,
            disabled_by,
            successor,
            times,
        } = self;
        let Draft {
            name,
            email,
            owner,
            enabled,
            expires_at,
            allowed_models,
            allowed_providers,
            loss_policy,
            limits,
        } = spec.to_draft();
        ApiKeyRecord {
            id: id.to_string(),
            hash: to_base64(hash.as_bytes()),
            name,
            email,
            owner: owner.to_string(),
            enabled,
            expires_ms: expires_at.map(to_ms),
            allowed_models,
            allowed_providers,
            loss_policy: loss_policy.map(|policy| policy.as_str().to_owned()),
            limits: LimitsRecord::of(limits),
            successor: successor.as_ref().map(KeyId::to_string),
            disabled_by: disabled_by.map(|by| by.as_str().to_owned()),
            times: TimesRecord::of(*times),
        }
    }

    fn from_record(record: ApiKeyRecord) -> Result<Self, String> {
        let ApiKeyRecord {
            id,
            hash,
            name,
            email,
            owner,
            enabled,
            expires_ms,
            allowed_models,
            allowed_providers,
            loss_policy,
            limits,
            successor,
            disabled_by,
            times,
        } = record;
        let owner = UserId::parse(&owner).map_err(reason)?;
        let expires_at = expires_ms.map(from_ms).transpose()?;
        let draft = Draft {
            name,
            email,
            owner,
            enabled,
            expires_at,
            allowed_models,
            allowed_providers,
            loss_policy: loss_policy
                .map(|policy| LossPolicy::parse(&policy).map_err(reason))
                .transpose()?,
            limits: limits.map(LimitsRecord::into_draft).unwrap_or_default(),
        };
        Ok(Self {
            id: KeyId::parse(&id).map_err(reason)?,
            hash: KeyHash::from_bytes(hash_from_base64(&hash)?),
            spec: draft.check().map_err(reasons)?,
            successor: successor
                .map(|id| KeyId::parse(&id).map_err(reason))
                .transpose()?,
            disabled_by: (!enabled).then(|| DisabledBy::read(disabled_by.as_deref())),
            times: times.to_times()?,
        })
    }
}

impl DisabledBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Owner => OWNER,
            Self::Admin => "admin",
        }
    }

    /// What was written before this was kept, or by a build that knows more, binds the owner.
    fn read(kept: Option<&str>) -> Self {
        if kept == Some(OWNER) {
            Self::Owner
        } else {
            Self::Admin
        }
    }
}
