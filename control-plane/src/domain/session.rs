//! Where a user is signed in.

use std::{fmt, time::SystemTime};

use uuid::Uuid;

use super::{Invalid, user::UserId};

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
    /// From then on neither refreshed nor valid.
    pub expires_at: SystemTime,
}
