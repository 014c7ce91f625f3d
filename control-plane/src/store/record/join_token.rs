//! Join tokens: their hashes, never the tokens.

use serde::{Deserialize, Serialize};

use super::{Persist, from_ms, hash_from_base64, reason, to_base64, to_ms};
use crate::{
    domain::{
        join_token::{JoinToken, JoinTokenHash, JoinTokenId, Spec},
        node::NodeId,
    },
    store::family::Family,
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct JoinTokenRecord {
    id: String,
    hash: String,
    node: Option<String>,
    expires_ms: u64,
    created_ms: u64,
}

impl Persist for JoinToken {
    type Record = JoinTokenRecord;
    const FAMILY: Family = Family::JoinTokens;

    fn key(&self) -> Vec<u8> {
        self.id.as_str().as_bytes().to_vec()
    }

    fn to_record(&self) -> JoinTokenRecord {
        let Self {
            id,
            hash,
            spec: Spec { node, expires_at },
            created_at,
        } = self;
        JoinTokenRecord {
            id: id.to_string(),
            hash: to_base64(hash.as_bytes()),
            node: node.as_ref().map(NodeId::to_string),
            expires_ms: to_ms(*expires_at),
            created_ms: to_ms(*created_at),
        }
    }

    fn from_record(record: JoinTokenRecord) -> Result<Self, String> {
        let JoinTokenRecord {
            id,
            hash,
            node,
            expires_ms,
            created_ms,
        } = record;
        let node = node.map(|text| NodeId::parse(&text).ok_or_else(|| reason(NodeId::rule())));
        Ok(Self {
            id: JoinTokenId::parse(&id).map_err(reason)?,
            hash: JoinTokenHash::from_bytes(hash_from_base64(&hash)?),
            spec: Spec {
                node: node.transpose()?,
                expires_at: from_ms(expires_ms)?,
            },
            created_at: from_ms(created_ms)?,
        })
    }
}
