//! The credentials of scripts: `bst-<id>-<secret><checksum>`. A token acts for who made
//! it, with a role and scopes of its own, and never does more than its maker may.

mod scope;

use std::fmt;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;

use super::credential::{self, Form};
use super::user::{Role, UserId};
use super::{DisplayName, FieldViolation, Invalid, Violations};

pub use scope::{Action, Area, Scope, Scopes};

/// What every token begins with, and nothing else that is sent as a bearer.
pub const PREFIX: &str = "bst-";
/// How long a token lives if nobody says.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(90 * 24 * 3600);
const LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Longest list of scopes: each of them once.
const SCOPES_MAX: usize = 2 * Area::ALL.len();

const FORM: Form = Form {
    prefix: PREFIX,
    hash_domain: b"bridge-service-token-v1",
};

/// The public part of a token: 12 of [0-9A-Za-z].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

impl TokenId {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !credential::is_id(text) {
            return Err(Invalid::new("must be the id of a service token"));
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Takes a hash that was made before.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A new token: its secret is shown once.
#[derive(Debug)]
pub struct Minted {
    pub id: TokenId,
    pub hash: TokenHash,
    /// The whole token, as a script sends it.
    pub secret: SecretString,
}

/// A new token out of 32 random bytes for the secret and 12 for the id.
#[must_use]
pub fn mint(secret: [u8; 32], id: [u8; 12]) -> Minted {
    let credential::Made { id, hash, text } = FORM.make(secret, id);
    Minted {
        id: TokenId(id),
        hash: TokenHash(hash),
        secret: text,
    }
}

/// What a token says of itself, if it is one and has no typo.
#[must_use]
pub fn read(text: &str) -> Option<(TokenId, TokenHash)> {
    let (id, hash) = FORM.read(text)?;
    Some((TokenId(id.to_owned()), TokenHash(hash)))
}

/// What somebody writes about a token, not yet checked.
#[derive(Debug, Clone)]
pub struct Draft {
    pub name: String,
    pub role: Role,
    pub scopes: Vec<String>,
    /// `None`: after the usual time.
    pub expires_at: Option<SystemTime>,
}

impl Draft {
    pub fn check(&self, now: SystemTime) -> Result<Spec, Vec<FieldViolation>> {
        let Self {
            name,
            role,
            scopes,
            expires_at,
        } = self;
        let mut violations = Violations::default();
        let name = violations.check("name", DisplayName::parse(name));
        if scopes.is_empty() {
            violations.add("scopes", "must name at least one");
        }
        if scopes.len() > SCOPES_MAX {
            violations.add("scopes", format!("must have at most {SCOPES_MAX} entries"));
        }
        let scopes = violations.check_all("scopes", scopes, |text| Scope::parse(text));
        let expires_at = expires_at.unwrap_or(now + LIFETIME_DEFAULT);
        if expires_at <= now || expires_at > now + LIFETIME_MAX {
            let days = LIFETIME_MAX.as_secs() / (24 * 3600);
            violations.add(
                "expires_at",
                format!("must be in the future, at most {days} days from now"),
            );
        }
        let spec = name.map(|name| Spec {
            name,
            role: *role,
            scopes: scopes.into_iter().collect(),
            expires_at,
        });
        violations.finish(spec)
    }
}

/// What somebody decided about a token. It is not changed later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub name: DisplayName,
    /// The most that it may do, cut down by the scopes.
    pub role: Role,
    pub scopes: Scopes,
    /// From then on it is not valid.
    pub expires_at: SystemTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceToken {
    pub id: TokenId,
    pub hash: TokenHash,
    /// For whom it acts; it is deleted with them.
    pub maker: UserId,
    pub spec: Spec,
    pub created_at: SystemTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn draft() -> Draft {
        Draft {
            name: "nightly".into(),
            role: Role::Operator,
            scopes: vec!["providers:write".into()],
            expires_at: None,
        }
    }

    #[test]
    fn a_token_lives_ninety_days_unless_somebody_says_otherwise_and_never_for_ever() {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(draft().check(NOW).unwrap().expires_at, NOW + 90 * day);
        let check = |expires_at, expected: bool| {
            let draft = Draft {
                expires_at: Some(expires_at),
                ..draft()
            };
            assert_eq!(draft.check(NOW + day).is_ok(), expected, "{expires_at:?}");
        };
        check(NOW, false);
        check(NOW + day, false);
        check(NOW + 2 * day, true);
        check(NOW + 367 * day, true);
        check(NOW + 368 * day, false);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let bad = Draft {
            name: String::new(),
            scopes: vec!["providers".into()],
            expires_at: Some(NOW),
            ..draft()
        };
        let fields: Vec<_> = bad.check(NOW).unwrap_err().into_iter().map(|v| v.field).collect();
        assert_eq!(fields, ["name", "scopes[0]", "expires_at"]);
        let none = Draft {
            scopes: vec![],
            ..draft()
        };
        assert_eq!(none.check(NOW).unwrap_err()[0].field, "scopes");
    }

    #[test]
    fn a_token_is_told_from_an_api_key() {
        use secrecy::ExposeSecret;
        let minted = mint([3; 32], [4; 12]);
        let text = minted.secret.expose_secret();
        assert!(text.starts_with("bst-"));
        assert_eq!(read(text), Some((minted.id.clone(), minted.hash)));
        let key = crate::domain::api_key::mint([3; 32], [4; 12]);
        assert_eq!(read(key.secret.expose_secret()), None);
        assert_ne!(key.hash.as_bytes(), minted.hash.as_bytes());
    }
}
