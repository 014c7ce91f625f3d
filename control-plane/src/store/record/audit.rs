//! Rows of the audit log. Each holds the hash of the row before it.

use serde::{Deserialize, Serialize};

use super::{from_ms, hash_from_base64, reason, to_base64, to_ms};
use crate::domain::{
    audit::{Actor, AuditEntry, Origin, Summary},
    user::UserId,
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct AuditRecord {
    /// Absent: the control plane itself.
    user_id: Option<String>,
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
        let Origin { peer_ip, request_id } = origin;
        let user_id = match actor {
            Actor::User(id) => Some(id.to_string()),
            Actor::System => None,
        };
        Self {
            user_id,
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
            method,
            target,
            before,
            after,
            peer_ip,
            request_id,
            at_ms,
            previous,
        } = self;
        let actor = match user_id {
            Some(id) => Actor::User(UserId::parse(&id).map_err(reason)?),
            None => Actor::System,
        };
        let peer_ip = peer_ip
            .map(|ip| ip.parse::<std::net::IpAddr>().map_err(reason))
            .transpose()?;
        let origin = Origin { peer_ip, request_id };
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
