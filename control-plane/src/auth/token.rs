//! Tokens: JWTs signed with HS256 and nothing else. They name a user, a session and
//! an epoch; whether those still stand is for the session to say.

use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    domain::{
        audit::{Actor, AuditEntry, Origin},
        session::SessionId,
        user::UserId,
    },
    secrets::{Keyring, SealError},
    store::{self, Change, Commit, CommitError, SealedName, Store},
};

const ISSUER: &str = "bridge-control-plane";
const AUDIENCE: &str = "bridge-admin";
/// How far clocks may differ.
const LEEWAY: Duration = Duration::from_secs(5);
const KEY_BYTES: usize = 32;
/// Keeps the name of a key from being a hash of the key that is used elsewhere.
const KEY_ID_DOMAIN: &[u8] = b"bridge-signing-key-id-v1";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TokenKind {
    /// Opens methods, for minutes.
    Access,
    /// Opens nothing, but is exchanged for a new pair once.
    Refresh,
}

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) kind: TokenKind,
    pub(super) user_id: UserId,
    pub(super) session_id: SessionId,
    /// How often the session had been refreshed.
    pub(super) generation: u32,
    pub(super) session_epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    sid: String,
    #[serde(rename = "gen")]
    generation: u32,
    epoch: u64,
    iat: u64,
    exp: u64,
    jti: String,
    typ: TokenKind,
}

#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Read(#[from] store::Error),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("tokens cannot be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
    #[error("a token that was just signed is not accepted")]
    SelfTest,
}

struct SigningKey {
    id: String,
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl SigningKey {
    fn new(bytes: &[u8]) -> Self {
        let hash = Sha256::new()
            .chain_update(KEY_ID_DOMAIN)
            .chain_update(bytes)
            .finalize();
        let id = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self {
            id,
            encoding: EncodingKey::from_secret(bytes),
            decoding: DecodingKey::from_secret(bytes),
        }
    }
}

/// The first key signs, all are accepted.
pub struct SigningKeys {
    ring: Vec<SigningKey>,
}

impl SigningKeys {
    /// The configured key, if there is one, and the one that is kept sealed, which is
    /// made at first start.
    pub async fn load_or_make(
        store: &Store,
        keyring: &Keyring,
        configured: Option<&SecretString>,
        now: SystemTime,
    ) -> Result<Self, SigningKeyError> {
        let name = SealedName::SigningKey;
        let kept = match store.sealed(name).await? {
            Some(sealed) => keyring.open_own(name.as_str(), &sealed)?,
            None => {
                let made = Zeroizing::new(rand::random::<[u8; KEY_BYTES]>().to_vec());
                let change = Change::PutSealed(name, keyring.seal_own(name.as_str(), &made)?);
                let audit =
                    AuditEntry::new(Actor::System, "Bootstrap", "signing_key", Origin::default(), now);
                store
                    .commit(Commit {
                        changes: vec![change],
                        audit,
                        idempotency: None,
                    })
                    .await?;
                made
            }
        };
        let configured = configured.map(|secret| SigningKey::new(secret.expose_secret().as_bytes()));
        let keys = Self {
            ring: configured.into_iter().chain([SigningKey::new(&kept)]).collect(),
        };
        keys.self_test(now)?;
        Ok(keys)
    }

    /// The library decides at run time how to sign: better at start than at a login.
    fn self_test(&self, now: SystemTime) -> Result<(), SigningKeyError> {
        let user_id = UserId::mint(rand::random());
        let session_id = SessionId::mint(rand::random());
        let grant = Grant {
            kind: TokenKind::Access,
            user_id,
            session_id,
            generation: 0,
            session_epoch: 0,
        };
        let token = self.sign(&grant, now, now + LEEWAY)?;
        if self.verify(token.expose_secret(), TokenKind::Access, now) == Some(grant) {
            Ok(())
        } else {
            Err(SigningKeyError::SelfTest)
        }
    }

    pub(super) fn sign(
        &self,
        grant: &Grant,
        now: SystemTime,
        expires_at: SystemTime,
    ) -> Result<SecretString, jsonwebtoken::errors::Error> {
        let Grant {
            kind,
            user_id,
            session_id,
            generation,
            session_epoch,
        } = grant;
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user_id.to_string(),
            sid: session_id.to_string(),
            generation: *generation,
            epoch: *session_epoch,
            iat: seconds(now),
            exp: seconds(expires_at),
            jti: Uuid::new_v4().to_string(),
            typ: *kind,
        };
        let key = self
            .ring
            .first()
            .ok_or(jsonwebtoken::errors::ErrorKind::InvalidKeyFormat)?;
        let header = Header {
            kid: Some(key.id.clone()),
            ..Header::new(Algorithm::HS256)
        };
        jsonwebtoken::encode(&header, &claims, &key.encoding).map(SecretString::from)
    }

    /// What a token stands for, if it is ours, of this kind and not over.
    pub(super) fn verify(&self, token: &str, kind: TokenKind, now: SystemTime) -> Option<Grant> {
        let key_id = jsonwebtoken::decode_header(token).ok()?.kid?;
        let key = self.ring.iter().find(|key| key.id == key_id)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation())
            .ok()?
            .claims;
        let Claims {
            iss: _,
            aud: _,
            sub,
            sid,
            generation,
            epoch,
            iat,
            exp,
            jti: _,
            typ,
        } = claims;
        let (now, leeway) = (seconds(now), LEEWAY.as_secs());
        if typ != kind || exp.saturating_add(leeway) <= now || iat > now.saturating_add(leeway) {
            return None;
        }
        Some(Grant {
            kind,
            user_id: UserId::parse(&sub).ok()?,
            session_id: SessionId::parse(&sid).ok()?,
            generation,
            session_epoch: epoch,
        })
    }
}

/// Times are compared by us, against the time that we are given.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_exp = false;
    validation
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    pub(super) fn keys(bytes: &[&[u8]]) -> SigningKeys {
        SigningKeys {
            ring: bytes.iter().map(|bytes| SigningKey::new(bytes)).collect(),
        }
    }

    pub(super) fn grant() -> Grant {
        let (user_id, session_id) = (UserId::mint([1; 16]), SessionId::mint([2; 16]));
        Grant {
            kind: TokenKind::Access,
            user_id,
            session_id,
            generation: 3,
            session_epoch: 4,
        }
    }

    pub(super) fn signed(keys: &SigningKeys) -> String {
        keys.sign(&grant(), NOW, NOW + Duration::from_secs(60))
            .unwrap()
            .expose_secret()
            .to_owned()
    }

    #[test]
    fn a_token_is_good_for_its_kind_and_its_time() {
        let keys = keys(&[&[1; 32]]);
        let token = signed(&keys);
        let verify = |kind, at: u64| keys.verify(&token, kind, NOW + Duration::from_secs(at));
        assert_eq!(verify(TokenKind::Access, 0), Some(grant()));
        assert_eq!(verify(TokenKind::Access, 64), Some(grant()));
        assert_eq!(verify(TokenKind::Access, 65), None);
        assert_eq!(verify(TokenKind::Refresh, 0), None);
    }

    #[test]
    fn only_keys_of_the_ring_are_accepted() {
        let (old, new, both) = (keys(&[&[1; 32]]), keys(&[&[2; 32]]), keys(&[&[2; 32], &[1; 32]]));
        assert!(both.verify(&signed(&old), TokenKind::Access, NOW).is_some());
        assert!(new.verify(&signed(&old), TokenKind::Access, NOW).is_none());
        assert!(
            new.verify(&signed(&both), TokenKind::Access, NOW).is_some(),
            "the first key signs"
        );
    }

    #[test]
    fn an_altered_or_unsigned_token_is_refused() {
        let keys = keys(&[&[1; 32]]);
        let token = signed(&keys);
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).unwrap();
            // The last character of the signature carries bits that nobody reads.
            assert!(
                place == token.len() - 1 || keys.verify(&altered, TokenKind::Access, NOW).is_none(),
                "byte {place}"
            );
        }
        let payload = token.split('.').nth(1).unwrap();
        let none = format!("eyJhbGciOiJub25lIn0.{payload}.");
        assert!(keys.verify(&none, TokenKind::Access, NOW).is_none());
        assert!(keys.verify("", TokenKind::Access, NOW).is_none());
        assert!(keys.verify("sk-bridge-x", TokenKind::Access, NOW).is_none());
    }

    #[test]
    fn another_algorithm_is_refused() {
        let keys = keys(&[&[1; 32]]);
        let header = Header {
            kid: Some(keys.ring[0].id.clone()),
            ..Header::new(Algorithm::HS512)
        };
        let claims = jsonwebtoken::decode::<Claims>(signed(&keys), &keys.ring[0].decoding, &validation())
            .unwrap()
            .claims;
        let token = jsonwebtoken::encode(&header, &claims, &keys.ring[0].encoding).unwrap();
        assert!(keys.verify(&token, TokenKind::Access, NOW).is_none());
    }

    #[test]
    fn claims_that_are_not_as_we_write_them_are_refused() {
        let keys = keys(&[&[1; 32]]);
        let key = &keys.ring[0];
        let good = jsonwebtoken::decode::<serde_json::Value>(signed(&keys), &key.decoding, &validation());
        let good = good.unwrap().claims;
        let header = Header {
            kid: Some(key.id.clone()),
            ..Header::new(Algorithm::HS256)
        };
        let verify = |claims: &serde_json::Value, at: u64| {
            let token = jsonwebtoken::encode(&header, claims, &key.encoding).unwrap();
            keys.verify(&token, TokenKind::Access, NOW + Duration::from_secs(at))
        };
        assert_eq!(verify(&good, 0), Some(grant()));
        assert_eq!(verify(&good, 66), None, "over for 6 s");
        for (claim, value) in [
            ("iss", serde_json::Value::from("somebody else")),
            ("aud", "another service".into()),
            ("exp", "60".into()),
            ("exp", (-1).into()),
            ("iat", 60.into()),
            ("typ", "refresh".into()),
            ("sub", "admin@example.com".into()),
            ("sid", "1".into()),
            ("epoch", "4".into()),
        ] {
            let mut claims = good.clone();
            claims[claim] = value.clone();
            assert_eq!(verify(&claims, 0), None, "{claim}: {value}");
            claims.as_object_mut().unwrap().remove(claim);
            assert_eq!(verify(&claims, 0), None, "without {claim}");
        }
    }
}
