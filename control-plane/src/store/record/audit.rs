//! Rows of the audit log. Each holds the hash of the row before it.

use serde::{Deserialize, Serialize};

use super::{from_ms, hash_from_base64, reason, to_base64, to_ms};
use crate::domain::{
    audit::{Actor, AuditEntry, Origin, Summary},
    service_token::TokenId,
    user::UserId,
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct AuditRecord {
    /// Absent, as the service token: the control plane itself.
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_token_id: Option<String>,
    /// E-mail or name at that time; absent in what was written before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    method: String,
    target: String,
    before: Option<String>,
    after: Option<String>,
    peer_ip: Option<String>,
    request_id: Option<String>,
    at_ms: u64,
    /// SHA-256 of the row before, as it is on disk.
    previous: String,
}

impl AuditRecord {
    pub(in crate::store) fn of(entry: &AuditEntry, previous: &[u8; 32]) -> Self {
        let AuditEntry {
            actor,
            method,
            target,
            before,
            after,
            origin,
            at,
        } = entry;
        let Origin {
            peer_ip,
            request_id,
            user_agent: _,
        } = origin;
        let (user_id, service_token_id, actor) = match actor {
            Actor::User { id, email } => (Some(id.to_string()), None, Some(email.clone())),
            Actor::ServiceToken { id, name } => (None, Some(id.to_string()), Some(name.clone())),
            Actor::System => (None, None, None),
        };
        Self {
            user_id,
            service_token_id,
            actor,
            method: method.clone(),
            target: target.clone(),
            before: before.as_ref().map(|summary| summary.as_str().to_owned()),
            after: after.as_ref().map(|summary| summary.as_str().to_owned()),
            peer_ip: peer_ip.map(|ip| ip.to_string()),
            request_id: request_id.clone(),
            at_ms: to_ms(*at),
            previous: to_base64(previous),
        }
    }

    /// The entry, and the hash that the row before must have.
    pub(in crate::store) fn into_entry(self) -> Result<(AuditEntry, [u8; 32]), String> {
        let Self {
            user_id,
            service_token_id,
            actor,
            method,
            target,
            before,
            after,
            peer_ip,
            request_id,
            at_ms,
            previous,
        } = self;
        let name = actor.unwrap_or_default();
        let actor = match (user_id, service_token_id) {
            (Some(id), _) => Actor::User {
                id: UserId::parse(&id).map_err(reason)?,
                email: name,
            },
            (None, Some(id)) => Actor::ServiceToken {
                id: TokenId::parse(&id).map_err(reason)?,
                name,
            },
            (None, None) => Actor::System,
        };
        let peer_ip = peer_ip
            .map(|ip| ip.parse::<std::net::IpAddr>().map_err(reason))
            .transpose()?;
        let origin = Origin {
            peer_ip,
            request_id,
            user_agent: None,
        };
        let entry = AuditEntry {
            actor,
            method,
            target,
            before: before.map(Summary::new),
            after: after.map(Summary::new),
            origin,
            at: from_ms(at_ms)?,
        };
        Ok((entry, hash_from_base64(&previous)?))
    }
}
