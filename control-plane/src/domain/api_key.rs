//! The credentials of API clients: `sk-bridge-<id>-<secret><checksum>`.
//!
//! The id is public and finds the key; the secret is 256 random bits and is kept
//! nowhere, only its hash. The checksum lets everybody tell a typo from a key.

use std::{fmt, time::SystemTime};

use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::{
    DisplayName, Email, FieldViolation, Invalid, LossPolicy, Times, Violations, model::ModelPattern,
    provider::ProviderName, user::UserId,
};

/// What every key begins with.
const PREFIX: &str = "sk-bridge-";
/// Parts of the hash, so that it cannot be mistaken for another one.
const HASH_DOMAIN: &[u8] = b"bridge-key-v1";
const ID_CHARS: usize = 12;
/// Characters of base62 that hold 256 bits.
const SECRET_CHARS: usize = 43;
/// Characters of base62 that hold 32 bits.
const CHECKSUM_CHARS: usize = 6;
/// Longest list of models or providers of a key.
const SCOPE_ITEMS_MAX: usize = 64;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The public part of a key: 12 of [0-9A-Za-z].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() != ID_CHARS || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Invalid::new("must be the id of an API key"));
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What people see of the key: its prefix and id.
    #[must_use]
    pub fn display(&self) -> String {
        format!("{PREFIX}{}", self.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 over a constant, the id and the secret, in ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Takes a hash that was made before.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A new key: its secret is shown once.
#[derive(Debug)]
pub struct Minted {
    pub id: KeyId,
    pub hash: KeyHash,
    /// The whole key, as a client sends it.
    pub secret: SecretString,
}

/// A new key out of 32 random bytes for the secret and 12 for the id.
#[must_use]
pub fn mint(secret: [u8; 32], id: [u8; 12]) -> Minted {
    let id = base62(&id, ID_CHARS);
    let secret = base62(&secret, SECRET_CHARS);
    let hash = Sha256::new()
        .chain_update(HASH_DOMAIN)
        .chain_update(&id)
        .chain_update(&secret)
        .finalize();
    let body = format!("{PREFIX}{id}-{secret}");
    let checksum = base62(&crc32fast::hash(body.as_bytes()).to_be_bytes(), CHECKSUM_CHARS);
    Minted {
        id: KeyId(id),
        hash: KeyHash(hash.into()),
        secret: SecretString::from(body + &checksum),
    }
}

/// A big-endian number in base62, its last `chars` digits, most significant first.
fn base62(number: &[u8], chars: usize) -> String {
    let mut digits = number.to_vec();
    let mut text = vec![BASE62[0]; chars];
    for place in text.iter_mut().rev() {
        let mut remainder = 0_u32;
        for digit in &mut digits {
            let value = (remainder << 8) | u32::from(*digit);
            *digit = (value / 62) as u8;
            remainder = value % 62;
        }
        *place = BASE62[remainder as usize];
    }
    text.into_iter().map(char::from).collect()
}

/// What somebody writes about a key, not yet checked.
#[derive(Debug, Clone)]
pub struct Draft {
    pub name: String,
    /// Empty: none.
    pub email: String,
    pub owner: UserId,
    pub enabled: bool,
    pub expires_at: Option<SystemTime>,
    pub allowed_models: Vec<String>,
    pub allowed_providers: Vec<String>,
    /// `None`: as the settings say.
    pub loss_policy: Option<LossPolicy>,
}

impl Draft {
    pub fn check(&self) -> Result<Spec, Vec<FieldViolation>> {
        let Self {
            name,
            email,
            owner,
            enabled,
            expires_at,
            allowed_models,
            allowed_providers,
            loss_policy,
        } = self;
        let mut violations = Violations::default();
        let name = violations.check("name", DisplayName::parse(name));
        let email = if email.trim().is_empty() {
            None
        } else {
            violations.check("email", Email::parse(email))
        };
        if expires_at.is_some_and(|at| at < SystemTime::UNIX_EPOCH) {
            violations.add("expires_at", "must not be before 1970");
        }
        for (field, list) in [
            ("allowed_models", allowed_models),
            ("allowed_providers", allowed_providers),
        ] {
            if list.len() > SCOPE_ITEMS_MAX {
                violations.add(field, format!("must have at most {SCOPE_ITEMS_MAX} entries"));
            }
        }
        let allowed_models =
            violations.check_all("allowed_models", allowed_models, |text| ModelPattern::parse(text));
        let allowed_providers = violations.check_all("allowed_providers", allowed_providers, |text| {
            ProviderName::parse(text)
        });
        let scope = Scope {
            allowed_models,
            allowed_providers,
        };
        let spec = name.map(|name| Spec {
            name,
            email,
            owner: *owner,
            enabled: *enabled,
            expires_at: *expires_at,
            scope,
            loss_policy: *loss_policy,
        });
        violations.finish(spec)
    }
}

/// What a key may reach. Empty lists: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    pub allowed_models: Vec<ModelPattern>,
    pub allowed_providers: Vec<ProviderName>,
}

/// What somebody decides about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub name: DisplayName,
    pub email: Option<Email>,
    pub owner: UserId,
    pub enabled: bool,
    pub expires_at: Option<SystemTime>,
    pub scope: Scope,
    pub loss_policy: Option<LossPolicy>,
}

impl Spec {
    #[must_use]
    pub fn to_draft(&self) -> Draft {
        let Self {
            name,
            email,
            owner,
            enabled,
            expires_at,
            scope,
            loss_policy,
        } = self;
        Draft {
            name: name.as_str().to_owned(),
            email: email
                .as_ref()
                .map(|email| email.as_str().to_owned())
                .unwrap_or_default(),
            owner: *owner,
            enabled: *enabled,
            expires_at: *expires_at,
            allowed_models: scope
                .allowed_models
                .iter()
                .map(|model| model.as_str().to_owned())
                .collect(),
            allowed_providers: scope
                .allowed_providers
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
            loss_policy: *loss_policy,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub hash: KeyHash,
    pub spec: Spec,
    pub times: Times,
}

/// Whether a change may take something away from the holder of the key. Such a
/// change is not delayed on its way to the data planes.
#[must_use]
pub fn is_revocation(before: &ApiKey, after: Option<&ApiKey>) -> bool {
    let Some(after) = after else {
        return before.spec.enabled;
    };
    let ends_earlier = match (before.spec.expires_at, after.spec.expires_at) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => new < old,
    };
    let is_disabled = before.spec.enabled && !after.spec.enabled;
    is_disabled || ends_earlier || before.spec.scope != after.spec.scope || before.hash != after.hash
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_minted_key_has_the_agreed_form() {
        let minted = mint([0xff; 32], [7; 12]);
        let key = minted.secret.expose_secret();
        assert_eq!(
            key.len(),
            PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS
        );
        let (body, checksum) = key.split_at(key.len() - CHECKSUM_CHARS);
        let number = checksum.bytes().fold(0_u64, |sum, byte| {
            sum * 62 + BASE62.iter().position(|b| *b == byte).unwrap() as u64
        });
        assert_eq!(number, u64::from(crc32fast::hash(body.as_bytes())));
        let secret = body.rsplit('-').next().unwrap();
        let hash = Sha256::digest(format!("bridge-key-v1{}{secret}", minted.id));
        assert_eq!(minted.hash.as_bytes()[..], hash[..]);
        assert!(KeyId::parse(minted.id.as_str()).is_ok());
    }

    #[test]
    fn base62_counts_like_numbers_do() {
        assert_eq!(base62(&[0], 3), "000");
        assert_eq!(base62(&[61], 3), "00z");
        assert_eq!(base62(&[62], 3), "010");
        assert_eq!(base62(&[0xff; 32], SECRET_CHARS).len(), SECRET_CHARS);
        assert_ne!(
            base62(&[0xff; 32], SECRET_CHARS).as_bytes()[0],
            b'0',
            "43 digits are needed for 256 bits"
        );
    }

    #[test]
    fn only_what_takes_rights_away_is_a_revocation() {
        let draft = Draft {
            name: "ci".into(),
            email: String::new(),
            owner: UserId::mint([1; 16]),
            enabled: true,
            expires_at: None,
            allowed_models: vec![],
            allowed_providers: vec![],
            loss_policy: None,
        };
        let key = |draft: &Draft| ApiKey {
            id: KeyId::parse("abcdefghijkl").unwrap(),
            hash: KeyHash([0; 32]),
            spec: draft.check().unwrap(),
            times: Times::new(SystemTime::UNIX_EPOCH),
        };
        let before = key(&draft);
        let check =
            |after: &Draft, expected: bool| assert_eq!(is_revocation(&before, Some(&key(after))), expected);
        check(&draft, false);
        check(
            &Draft {
                name: "other".into(),
                ..draft.clone()
            },
            false,
        );
        check(
            &Draft {
                enabled: false,
                ..draft.clone()
            },
            true,
        );
        check(
            &Draft {
                expires_at: Some(SystemTime::UNIX_EPOCH),
                ..draft.clone()
            },
            true,
        );
        check(
            &Draft {
                allowed_models: vec!["claude-*".into()],
                ..draft.clone()
            },
            true,
        );
        assert!(is_revocation(&before, None));
        assert!(!is_revocation(
            &key(&Draft {
                enabled: false,
                ..draft
            }),
            None
        ));
    }
}
