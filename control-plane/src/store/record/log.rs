//! Rows of the change log and of the table of repeated requests.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{from_ms, hash_from_base64, to_base64, to_ms};
use crate::store::change::{Kind, LoggedChange};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct ChangeRecord {
    kind: String,
    id: String,
    urgent: bool,
}

impl ChangeRecord {
    pub(in crate::store) fn of(change: &LoggedChange) -> Self {
        let LoggedChange {
            revision: _,
            kind,
            id,
            urgent,
        } = change;
        Self {
            kind: kind.as_str().to_owned(),
            id: id.clone(),
            urgent: *urgent,
        }
    }

    pub(in crate::store) fn into_change(self, revision: u64) -> Result<LoggedChange, String> {
        let Self { kind, id, urgent } = self;
        let kind = Kind::parse(&kind).ok_or_else(|| format!("there is no kind {kind}"))?;
        Ok(LoggedChange {
            revision,
            kind,
            id,
            urgent,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct IdempotencyRecord {
    created_ms: u64,
    fingerprint: String,
    pub(in crate::store) result: String,
}

impl IdempotencyRecord {
    pub(in crate::store) fn new(created_at: SystemTime, fingerprint: &[u8; 32], result: &str) -> Self {
        Self {
            created_ms: to_ms(created_at),
            fingerprint: to_base64(fingerprint),
            result: result.to_owned(),
        }
    }

    pub(in crate::store) fn created_at(&self) -> Result<SystemTime, String> {
        from_ms(self.created_ms)
    }

    pub(in crate::store) fn is_for(&self, fingerprint: &[u8; 32]) -> bool {
        hash_from_base64(&self.fingerprint).is_ok_and(|stored| stored == *fingerprint)
    }
}
