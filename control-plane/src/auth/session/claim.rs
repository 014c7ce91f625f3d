//! Who somebody says they are, before they have shown it.
//!
//! For an e-mail that nobody has, somebody else's record is read and their password checked:
//! what is done, and how long it takes, is the same for all.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    domain::{
        Email,
        user::{User, UserId},
    },
    store::{Error, Store, Stored},
};

/// Records that are tried, should one be deleted meanwhile.
const DECOYS_MAX: usize = 3;

/// A record to check a password by.
pub(super) struct Claim {
    pub(super) user: Stored<User>,
    /// Whether it is that of who was named.
    pub(super) is_theirs: bool,
}

/// Whose record is read for nobody's e-mail; all clones share it.
#[derive(Clone, Default)]
pub(super) struct Decoy(Arc<Mutex<Option<UserId>>>);

impl Decoy {
    /// `None`: there are no users.
    pub(super) async fn claim(&self, store: &Store, email: &str) -> Result<Option<Claim>, Error> {
        // No user has an e-mail that is none.
        let email = Email::parse(email).map_or_else(|_| String::new(), |email| email.as_str().to_owned());
        for _ in 0..DECOYS_MAX {
            let Some(decoy) = self.id(store).await? else {
                return Ok(None);
            };
            if let Some((user, is_theirs)) = store.user_or_decoy(&email, decoy).await? {
                return Ok(Some(Claim { user, is_theirs }));
            }
            *self.lock() = None;
        }
        Ok(None)
    }

    /// Looked for once, and again when that user is gone.
    async fn id(&self, store: &Store) -> Result<Option<UserId>, Error> {
        let known = *self.lock();
        if known.is_some() {
            return Ok(known);
        }
        let found = store.users().await?.first().map(|user| user.value.id);
        *self.lock() = found;
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<UserId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
