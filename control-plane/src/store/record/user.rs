//! Users, and where they are signed in.

use serde::{Deserialize, Serialize};

use super::{Persist, TimesRecord, from_ms, reason, reasons, to_ms};
use crate::{
    domain::{
        session::{Client, Session, SessionId},
        user::{Credentials, Draft, PasswordHash, Role, User, UserId},
    },
    store::family::Family,
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct UserRecord {
    id: String,
    email: String,
    name: String,
    role: String,
    enabled: bool,
    password_hash: String,
    must_change_password: bool,
    session_epoch: u64,
    times: TimesRecord,
}

impl Persist for User {
    type Record = UserRecord;
    const FAMILY: Family = Family::Users;

    fn key(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn to_record(&self) -> UserRecord {
        let Self {
            id,
            spec,
            credentials,
            times,
        } = self;
        let Draft {
            email,
            name,
            role,
            enabled,
        } = spec.to_draft();
        let Credentials {
            password_hash,
            must_change_password,
            session_epoch,
        } = credentials;
        UserRecord {
            id: id.to_string(),
            email,
            name,
            role: role.as_str().to_owned(),
            enabled,
            password_hash: password_hash.as_phc().to_owned(),
            must_change_password: *must_change_password,
            session_epoch: *session_epoch,
            times: TimesRecord::of(*times),
        }
    }

    fn from_record(record: UserRecord) -> Result<Self, String> {
        let UserRecord {
            id,
            email,
            name,
            role,
            enabled,
            password_hash,
            must_change_password,
            session_epoch,
            times,
        } = record;
        let role = Role::parse(&role).map_err(reason)?;
        let password_hash = PasswordHash::from_phc(password_hash);
        Ok(Self {
            id: UserId::parse(&id).map_err(reason)?,
            spec: Draft {
                email,
                name,
                role,
                enabled,
            }
            .check()
            .map_err(reasons)?,
            credentials: Credentials {
                password_hash,
                must_change_password,
                session_epoch,
            },
            times: times.to_times()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct SessionRecord {
    id: String,
    user_id: String,
    generation: u32,
    created_ms: u64,
    #[serde(default)]
    refreshed_ms: u64,
    expires_ms: u64,
    #[serde(default)]
    session_epoch: u64,
    #[serde(default)]
    address: Option<String>,
    #[serde(default)]
    user_agent: String,
}

impl Persist for Session {
    type Record = SessionRecord;
    const FAMILY: Family = Family::Sessions;

    /// Begins with the user, so that a user's sessions lie together.
    fn key(&self) -> Vec<u8> {
        session_key(&self.user_id, &self.id)
    }

    fn to_record(&self) -> SessionRecord {
        let Self {
            id,
            user_id,
            generation,
            created_at,
            refreshed_at,
            expires_at,
            session_epoch,
            client: Client { address, user_agent },
        } = self;
        SessionRecord {
            id: id.to_string(),
            user_id: user_id.to_string(),
            generation: *generation,
            created_ms: to_ms(*created_at),
            refreshed_ms: to_ms(*refreshed_at),
            expires_ms: to_ms(*expires_at),
            session_epoch: *session_epoch,
            address: address.map(|address| address.to_string()),
            user_agent: user_agent.clone(),
        }
    }

    fn from_record(record: SessionRecord) -> Result<Self, String> {
        let SessionRecord {
            id,
            user_id,
            generation,
            created_ms,
            refreshed_ms,
            expires_ms,
            session_epoch,
            address,
            user_agent,
        } = record;
        let address = address
            .map(|address| address.parse().map_err(reason))
            .transpose()?;
        Ok(Self {
            id: SessionId::parse(&id).map_err(reason)?,
            user_id: UserId::parse(&user_id).map_err(reason)?,
            generation,
            created_at: from_ms(created_ms)?,
            refreshed_at: from_ms(refreshed_ms.max(created_ms))?,
            expires_at: from_ms(expires_ms)?,
            session_epoch,
            client: Client { address, user_agent },
        })
    }
}

pub(in crate::store) fn session_key(user_id: &UserId, id: &SessionId) -> Vec<u8> {
    [user_id.as_bytes().as_slice(), id.as_bytes().as_slice()].concat()
}
