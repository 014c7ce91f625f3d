//! Signing in, staying in and leaving.
//!
//! A session is a row of the store. Its access token is good for minutes; its
//! refresh token is exchanged once, and one that comes twice ends the session, for
//! somebody has a copy. Everything about the user is asked of the store each time.

mod claim;
mod places;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use secrecy::SecretString;

use claim::{Claim, Decoy};

use super::{
    caller::{Caller, Credential},
    password::{self, Hasher},
    service_token,
    throttle::{Applicant, Throttle, Throttled},
    token::{Grant, SigningKeys, TokenKind},
};
use crate::{
    document,
    domain::{
        FieldViolation,
        audit::{Actor, AuditEntry, Origin},
        service_token::PREFIX as SERVICE_TOKEN_PREFIX,
        session::{Client, Session, SessionId},
        user::{NewPassword, User, UserId},
    },
    store::{self, Change, Commit, CommitError, Expect, SessionChange, Store, Stored},
};

/// Life of an access token.
const ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// A session ends when it is not refreshed for this long …
const SESSION_IDLE: Duration = Duration::from_secs(12 * 3600);
/// … and in any case after this.
const SESSION_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions of one user; the oldest end first.
const SESSIONS_PER_USER_MAX: usize = 16;

#[derive(Debug)]
pub struct TokenPair {
    pub access_token: SecretString,
    pub expires_at: SystemTime,
    pub refresh_token: SecretString,
}

#[derive(Debug)]
pub struct SignedIn {
    pub user: Stored<User>,
    pub tokens: TokenPair,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The same words whatever it was.
    #[error("e-mail or password is wrong")]
    WrongCredentials,
    #[error("the token is not valid; sign in again")]
    InvalidToken,
    #[error(transparent)]
    Throttled(#[from] Throttled),
    #[error(transparent)]
    Password(#[from] password::Error),
    #[error("the new password cannot be used")]
    Invalid(Vec<FieldViolation>),
    #[error("a token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// A handle; all clones share one throttle.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    hasher: Hasher,
    keys: Arc<SigningKeys>,
    throttle: Arc<Mutex<Throttle>>,
    decoy: Decoy,
}

impl Sessions {
    #[must_use]
    pub fn new(store: Store, hasher: Hasher, keys: SigningKeys) -> Self {
        Self {
            store,
            hasher,
            keys: Arc::new(keys),
            throttle: Arc::default(),
            decoy: Decoy::default(),
        }
    }

    /// Opens a session for who knows the password. Unknown, disabled and wrong are
    /// answered alike, in the same time.
    pub async fn login(
        &self,
        email: &str,
        password: &SecretString,
        origin: Origin,
        now: SystemTime,
    ) -> Result<SignedIn, Error> {
        let applicant = self.admit(email, &origin)?;
        let claim = self.decoy.claim(&self.store, email).await?;
        let Claim { user, is_theirs } = claim.ok_or(Error::WrongCredentials)?;
        let hash = &user.value.credentials.password_hash;
        let is_right = self.hasher.verify(password, hash).await?;
        if !(is_right && is_theirs && user.value.spec.enabled) {
            return Err(Error::WrongCredentials);
        }
        self.lock_throttle().succeeded(&applicant);
        let session = new_session(&user.value, &origin, now);
        let tokens = self.tokens(&session, &user.value, now)?;
        let target = format!("user/{}", user.value.id);
        let audit = AuditEntry::new(actor(&user.value), "AuthService.Login", &target, origin, now);
        let mut changes = self
            .outdated(&user.value.id, SESSIONS_PER_USER_MAX - 1, now)
            .await?;
        changes.push(SessionChange::Put(session));
        changes.push(SessionChange::RecordLogin(user.value.id, now));
        self.commit(changes.into_iter().map(Change::Session).collect(), audit)
            .await?;
        Ok(SignedIn { user, tokens })
    }

    /// Exchanges a refresh token for a new pair.
    pub async fn refresh(
        &self,
        token: &SecretString,
        origin: Origin,
        now: SystemTime,
    ) -> Result<TokenPair, Error> {
        let (grant, session, user) = self.standing(token, TokenKind::Refresh, now).await?;
        if grant.generation != session.generation {
            return self.end_copied(&session, &user.value, origin, now).await;
        }
        let next = Session {
            generation: session.generation + 1,
            refreshed_at: now,
            client: Client::of(&origin),
            expires_at: end_of(session.created_at, now),
            ..session.clone()
        };
        let tokens = self.tokens(&next, &user.value, now)?;
        match self.store.keep_sessions(vec![SessionChange::Put(next)]).await {
            Ok(()) => Ok(tokens),
            Err(CommitError::SessionConflict) => self.end_copied(&session, &user.value, origin, now).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the caller's session at once.
    pub async fn logout(&self, caller: &Caller, audit: AuditEntry) -> Result<(), Error> {
        let session_id = caller.session_id().ok_or(Error::InvalidToken)?;
        let end = SessionChange::Delete(caller.user_id, session_id);
        self.commit(vec![Change::Session(end)], audit).await
    }

    /// Who calls with an access token or a service token.
    pub async fn verify(&self, token: &SecretString, now: SystemTime) -> Result<Caller, Error> {
        let text = secrecy::ExposeSecret::expose_secret(token);
        if text.starts_with(SERVICE_TOKEN_PREFIX) {
            let caller = service_token::verify(&self.store, text, now).await?;
            return caller.ok_or(Error::InvalidToken);
        }
        let (_, session, user) = self.standing(token, TokenKind::Access, now).await?;
        Ok(Caller {
            user_id: user.value.id,
            role: user.value.spec.role,
            actor: actor(&user.value),
            credential: Credential::Session {
                id: session.id,
                must_change_password: user.value.credentials.must_change_password,
            },
        })
    }

    /// Sets the caller's own password, ends all sessions and opens a new one.
    pub async fn change_password(
        &self,
        caller: &Caller,
        current: &SecretString,
        new: SecretString,
        audit: AuditEntry,
    ) -> Result<TokenPair, Error> {
        let user = self
            .store
            .user(&caller.user_id)
            .await?
            .ok_or(Error::InvalidToken)?;
        let new = NewPassword::parse(new).map_err(|reason| {
            Error::Invalid(vec![FieldViolation {
                field: "new_password".to_owned(),
                description: reason.to_string(),
            }])
        })?;
        let applicant = self.admit(user.value.spec.email.as_str(), &audit.origin)?;
        if !self
            .hasher
            .verify(current, &user.value.credentials.password_hash)
            .await?
        {
            return Err(Error::WrongCredentials);
        }
        self.lock_throttle().succeeded(&applicant);
        let (now, hash) = (audit.at, self.hasher.hash(new.as_secret()).await?);
        let changed = user.value.with_password(hash, false, now);
        let session = new_session(&changed, &audit.origin, now);
        let tokens = self.tokens(&session, &changed, now)?;
        let ended = self.outdated(&changed.id, 0, now).await?;
        let mut changes: Vec<Change> = ended.into_iter().map(Change::Session).collect();
        changes.push(Change::PutUser(changed, Expect::Revision(user.revision)));
        changes.push(Change::Session(SessionChange::Put(session)));
        self.commit(changes, audit).await?;
        Ok(tokens)
    }

    /// The token's session and user, if all three still stand.
    async fn standing(
        &self,
        token: &SecretString,
        kind: TokenKind,
        now: SystemTime,
    ) -> Result<(Grant, Session, Stored<User>), Error> {
        let text = secrecy::ExposeSecret::expose_secret(token);
        let grant = self.keys.verify(text, kind, now).ok_or(Error::InvalidToken)?;
        let session = self.store.session(&grant.user_id, &grant.session_id).await?;
        let session = session
            .filter(|session| now < session.expires_at)
            .ok_or(Error::InvalidToken)?;
        let user = self.store.user(&grant.user_id).await?;
        let stands = |user: &Stored<User>| {
            user.value.spec.enabled && user.value.credentials.session_epoch == grant.session_epoch
        };
        let user = user.filter(stands).ok_or(Error::InvalidToken)?;
        Ok((grant, session, user))
    }

    /// A refresh token came twice: somebody has a copy, and nobody knows who.
    async fn end_copied(
        &self,
        session: &Session,
        user: &User,
        origin: Origin,
        now: SystemTime,
    ) -> Result<TokenPair, Error> {
        tracing::warn!(session.id = %session.id, "a refresh token came twice; its session is ended");
        let target = format!("session/{}", session.id);
        let audit = AuditEntry::new(actor(user), "AuthService.Refresh", &target, origin, now).with_summaries(
            None,
            Some(document::summary(document::note(
                "a refresh token came twice, the session was ended",
            ))),
        );
        let end = SessionChange::Delete(session.user_id, session.id);
        self.commit(vec![Change::Session(end)], audit).await?;
        Err(Error::InvalidToken)
    }

    /// Ends sessions that are over, and the oldest beyond `keep_max`.
    async fn outdated(
        &self,
        user_id: &UserId,
        keep_max: usize,
        now: SystemTime,
    ) -> Result<Vec<SessionChange>, Error> {
        let sessions = self.store.sessions_of(user_id).await?;
        let (mut live, over): (Vec<_>, Vec<_>) =
            sessions.into_iter().partition(|session| now < session.expires_at);
        live.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        let ended = over.into_iter().chain(live.into_iter().skip(keep_max));
        Ok(ended
            .map(|session| SessionChange::Delete(session.user_id, session.id))
            .collect())
    }

    fn tokens(&self, session: &Session, user: &User, now: SystemTime) -> Result<TokenPair, Error> {
        let grant = |kind| Grant {
            kind,
            user_id: user.id,
            session_id: session.id,
            generation: session.generation,
            session_epoch: user.credentials.session_epoch,
        };
        let expires_at = (now + ACCESS_LIFETIME).min(session.expires_at);
        Ok(TokenPair {
            access_token: self.keys.sign(&grant(TokenKind::Access), now, expires_at)?,
            expires_at,
            refresh_token: self
                .keys
                .sign(&grant(TokenKind::Refresh), now, session.expires_at)?,
        })
    }

    async fn commit(&self, changes: Vec<Change>, audit: AuditEntry) -> Result<(), Error> {
        self.store
            .commit(Commit {
                changes,
                audit,
                idempotency: None,
            })
            .await?;
        Ok(())
    }

    fn admit(&self, account: &str, origin: &Origin) -> Result<Applicant, Throttled> {
        let ip = origin.peer_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let applicant = Applicant::new(account, ip);
        self.lock_throttle().admit(&applicant, Instant::now())?;
        Ok(applicant)
    }

    fn lock_throttle(&self) -> std::sync::MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn actor(user: &User) -> Actor {
    Actor::User {
        id: user.id,
        email: user.spec.email.as_str().to_owned(),
    }
}

fn new_session(user: &User, origin: &Origin, now: SystemTime) -> Session {
    let id = SessionId::mint(rand::random());
    Session {
        id,
        user_id: user.id,
        generation: 0,
        created_at: now,
        refreshed_at: now,
        expires_at: end_of(now, now),
        session_epoch: user.credentials.session_epoch,
        client: Client::of(origin),
    }
}

fn end_of(created_at: SystemTime, now: SystemTime) -> SystemTime {
    (now + SESSION_IDLE).min(created_at + SESSION_LIFETIME)
}

#[cfg(test)]
mod tests;
