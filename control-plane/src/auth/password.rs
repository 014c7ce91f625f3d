//! Hashing and checking passwords with argon2, off the runtime and never many at
//! once: each takes 19 MiB and some milliseconds, which strangers can ask for.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

use crate::domain::user::{PASSWORD_BYTES_MAX, PasswordHash};

/// Hashes at once.
const AT_ONCE: usize = 2;
/// Callers that wait beyond those; more are turned away.
const QUEUE_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("too many passwords are being checked; try again in a moment")]
    Busy,
    #[error("a password could not be hashed")]
    Failed,
}

/// A handle; all clones share the same limits.
#[derive(Clone)]
pub struct Hasher {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Default for Hasher {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            admitted: Arc::new(Semaphore::new(AT_ONCE + QUEUE_MAX)),
        }
    }
}

impl Hasher {
    pub async fn hash(&self, password: &SecretString) -> Result<PasswordHash, Error> {
        let password = password.clone();
        self.run(move || hash(&password)).await
    }

    /// Whether the password is the one that was hashed.
    pub async fn verify(&self, password: &SecretString, hash: &PasswordHash) -> Result<bool, Error> {
        let (password, hash) = (password.clone(), hash.clone());
        self.run(move || Ok(verify(&password, &hash))).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let admitted = Arc::clone(&self.admitted)
            .try_acquire_owned()
            .map_err(|_| Error::Busy)?;
        let running = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(|_| Error::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((running, admitted));
            result
        });
        done.await.map_err(|_| Error::Failed)?
    }
}

fn hash(password: &SecretString) -> Result<PasswordHash, Error> {
    let hash = Argon2::default()
        .hash_password(password.expose_secret().as_bytes())
        .map_err(|_| Error::Failed)?;
    Ok(PasswordHash::from_phc(hash.to_string()))
}

fn verify(password: &SecretString, hash: &PasswordHash) -> bool {
    let is_sane = password.expose_secret().len() <= PASSWORD_BYTES_MAX;
    let Ok(hash) = phc::PasswordHash::new(hash.as_phc()) else {
        return false;
    };
    is_sane
        && Argon2::default()
            .verify_password(password.expose_secret().as_bytes(), &hash)
            .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_verified_against_its_own_hash_only() {
        let hasher = Hasher::default();
        let hash = hasher.hash(&"correct horse battery".into()).await.unwrap();
        assert!(hash.as_phc().starts_with("$argon2id$"));
        assert_eq!(
            hasher.verify(&"correct horse battery".into(), &hash).await,
            Ok(true)
        );
        assert_eq!(
            hasher.verify(&"correct horse batterx".into(), &hash).await,
            Ok(false)
        );
        let broken = PasswordHash::from_phc("nonsense".into());
        assert_eq!(
            hasher.verify(&"correct horse battery".into(), &broken).await,
            Ok(false)
        );
    }

    #[tokio::test]
    async fn beyond_the_queue_callers_are_turned_away() {
        let hasher = Hasher::default();
        let held = Arc::clone(&hasher.admitted)
            .try_acquire_many_owned((AT_ONCE + QUEUE_MAX) as u32)
            .unwrap();
        let hash = hash(&"y".into()).unwrap();
        assert_eq!(hasher.verify(&"x".into(), &hash).await, Err(Error::Busy));
        drop(held);
        assert_eq!(hasher.verify(&"x".into(), &hash).await, Ok(false));
    }
}
