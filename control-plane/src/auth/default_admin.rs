//! Whether the first account is still as the documentation describes it, so that the sign-in page can
//! say so to a newcomer.
//!
//! Checking a password is costly and strangers may ask: each stored hash is checked once.

use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;

use super::password::Hasher;
use super::session::Error;
use crate::domain::user::{DEFAULT_ADMIN_EMAIL, DEFAULT_ADMIN_PASSWORD, PasswordHash};
use crate::domain::{Email, Invalid};
use crate::store::Store;

/// A handle; all clones share what was found out.
#[derive(Clone)]
pub struct DefaultAdmin {
    store: Store,
    hasher: Hasher,
    checked: Arc<Mutex<Option<(PasswordHash, bool)>>>,
}

impl DefaultAdmin {
    #[must_use]
    pub fn new(store: Store, hasher: Hasher) -> Self {
        Self {
            store,
            hasher,
            checked: Arc::default(),
        }
    }

    pub async fn is_active(&self) -> Result<bool, Error> {
        let user = match Email::parse(DEFAULT_ADMIN_EMAIL) {
            Ok(email) => self.store.user_by_email(&email).await?,
            Err(Invalid { .. }) => None,
        };
        let Some(user) = user else { return Ok(false) };
        let credentials = user.value.credentials;
        if !(user.value.spec.enabled && credentials.must_change_password) {
            return Ok(false);
        }
        let hash = credentials.password_hash;
        if let Some(known) = self.known(&hash) {
            return Ok(known);
        }
        let password = SecretString::from(DEFAULT_ADMIN_PASSWORD);
        let is_active = self.hasher.verify(&password, &hash).await?;
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Some((hash, is_active));
        Ok(is_active)
    }

    fn known(&self, hash: &PasswordHash) -> Option<bool> {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked
            .as_ref()
            .filter(|(known, _)| known == hash)
            .map(|(_, is_active)| *is_active)
    }
}
