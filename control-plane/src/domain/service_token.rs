//! The credentials of scripts: `bst-<id>-<secret><checksum>`. A token acts for who made
//! it, with a role and scopes of its own, and never does more than its maker may.

mod scope;

use std::time::{Duration, SystemTime};

use super::credential::{self, Id, Kind, SecretHash};
use super::user::{Role, UserId};
use super::{DisplayName, FieldViolation, Violations, to_the_millisecond};

pub use scope::{Action, Area, Scope, Scopes};

/// What every token begins with, and nothing else that is sent as a bearer.
pub const PREFIX: &str = "bst-";
/// How long a token lives if nobody says.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(90 * 24 * 3600);
const LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Longest list of scopes: each of them once.
const SCOPES_MAX: usize = 2 * Area::ALL.len();

/// Service tokens, as a kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceTokens {}

impl Kind for ServiceTokens {
    const NAME: &'static str = "a service token";
    const PREFIX: &'static str = PREFIX;
    const HASH_DOMAIN: &'static [u8] = b"bridge-service-token-v1";
}

pub type TokenId = Id<ServiceTokens>;
pub type TokenHash = SecretHash<ServiceTokens>;
pub type Minted = credential::Minted<ServiceTokens>;

/// A new token out of 32 random bytes for the secret and 12 for the id.
#[must_use]
pub fn mint(secret: [u8; 32], id: [u8; 12]) -> Minted {
    credential::mint(secret, id)
}

/// What a token says of itself, if it is one and has no typo.
#[must_use]
pub fn read(text: &str) -> Option<(TokenId, TokenHash)> {
    credential::read(text)
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
        let expires_at = to_the_millisecond(expires_at.unwrap_or(now + LIFETIME_DEFAULT));
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
        let draft = Draft {
            expires_at: Some(NOW + day + Duration::from_nanos(1_000_001)),
            ..draft()
        };
        let kept = NOW + day + Duration::from_millis(1);
        assert_eq!(draft.check(NOW).unwrap().expires_at, kept, "as it is read later");
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
