//! Service tokens: their hashes, never the tokens.

use serde::{Deserialize, Serialize};

use super::{Persist, from_ms, hash_from_base64, reason, to_base64, to_ms};
use crate::{
    domain::{
        DisplayName,
        service_token::{Scope, ServiceToken, Spec, TokenHash, TokenId},
        user::{Role, UserId},
    },
    store::family::Family,
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct ServiceTokenRecord {
    id: String,
    hash: String,
    maker: String,
    name: String,
    role: String,
    scopes: Vec<String>,
    expires_ms: u64,
    created_ms: u64,
}

impl Persist for ServiceToken {
    type Record = ServiceTokenRecord;
    const FAMILY: Family = Family::ServiceTokens;

    fn key(&self) -> Vec<u8> {
        self.id.as_str().as_bytes().to_vec()
    }

    fn to_record(&self) -> ServiceTokenRecord {
        let Self {
            id,
            hash,
            maker,
            spec:
                Spec {
                    name,
                    role,
                    scopes,
                    expires_at,
                },
            created_at,
        } = self;
        ServiceTokenRecord {
            id: id.to_string(),
            hash: to_base64(hash.as_bytes()),
            maker: maker.to_string(),
            name: name.as_str().to_owned(),
            role: role.as_str().to_owned(),
            scopes: scopes.to_texts(),
            expires_ms: to_ms(*expires_at),
            created_ms: to_ms(*created_at),
        }
    }

    fn from_record(record: ServiceTokenRecord) -> Result<Self, String> {
        let ServiceTokenRecord {
            id,
            hash,
            maker,
            name,
            role,
            scopes,
            expires_ms,
            created_ms,
        } = record;
        let scopes = scopes.iter().map(|text| Scope::parse(text).map_err(reason));
        let spec = Spec {
            name: DisplayName::parse(&name).map_err(reason)?,
            role: Role::parse(&role).map_err(reason)?,
            scopes: scopes.collect::<Result<_, _>>()?,
            expires_at: from_ms(expires_ms)?,
        };
        Ok(Self {
            id: TokenId::parse(&id).map_err(reason)?,
            hash: TokenHash::from_bytes(hash_from_base64(&hash)?),
            maker: UserId::parse(&maker).map_err(reason)?,
            spec,
            created_at: from_ms(created_ms)?,
        })
    }
}
