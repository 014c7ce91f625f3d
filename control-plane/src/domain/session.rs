//! Where a user is signed in.

use std::{fmt, net::IpAddr, time::SystemTime};

use uuid::Uuid;

use super::{Invalid, audit::Origin, user::UserId};

/// How much is kept of what a client calls itself, in characters.
const USER_AGENT_CHARS_MAX: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id out of random bytes.
    #[must_use]
    pub fn mint(random: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(random).into_uuid())
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| Invalid::new("must be the id of a session"))
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session goes on as long as its refresh token is exchanged in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: SessionId,
    pub user_id: UserId,
    /// How often it was refreshed. The refresh token names it, so that one that was
    /// used before is recognised.
    pub generation: u32,
    pub created_at: SystemTime,
    pub refreshed_at: SystemTime,
    /// From then on neither refreshed nor valid.
    pub expires_at: SystemTime,
    /// The user's own at the login: a session of an earlier one is over.
    pub session_epoch: u64,
    pub client: Client,
}

/// Who a session was last refreshed for, as far as one can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    pub address: Option<IpAddr>,
    /// Cut to a bounded length; empty if it did not say.
    pub user_agent: String,
}

impl Client {
    #[must_use]
    pub fn of(origin: &Origin) -> Self {
        let user_agent = origin.user_agent.as_deref().unwrap_or_default();
        Self {
            address: origin.peer_ip,
            user_agent: user_agent.chars().take(USER_AGENT_CHARS_MAX).collect(),
        }
    }
}
