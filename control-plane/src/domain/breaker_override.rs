//! Breakers that an admin holds open or closed for a while, on every node.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::credential;
use super::model::ModelName;
use super::provider::ProviderName;
use super::user::UserId;
use super::{FieldViolation, Invalid, Violations};

/// How long a breaker is held if nobody says.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60 * 60);
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const REASON_CHARS_MAX: usize = 300;
/// Holds at the same time: data planes look through them for every candidate.
pub const HOLDS_MAX: usize = 200;

/// 12 of [0-9A-Za-z].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OverrideId(String);

impl OverrideId {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !credential::is_id(text) {
            return Err(Invalid::new("must be the id of a breaker override"));
        }
        Ok(Self(text.to_owned()))
    }

    /// Out of random bytes.
    #[must_use]
    pub fn mint(random: [u8; 12]) -> Self {
        Self(credential::id(&random))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OverrideId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Nobody is asked.
    Open,
    /// Whatever happens, requests flow.
    Closed,
}

impl Held {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err(Invalid::new("must be open or closed")),
        }
    }
}

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub provider: ProviderName,
    /// `None`: all models of the provider.
    pub model: Option<ModelName>,
    pub held: Held,
    pub expires_at: SystemTime,
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerOverride {
    pub id: OverrideId,
    pub maker: UserId,
    pub spec: Spec,
    pub created_at: SystemTime,
}

impl BreakerOverride {
    /// Whether it takes the place of another one, which is about the same breaker.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        (&self.spec.provider, &self.spec.model) == (&other.spec.provider, &other.spec.model)
    }

    #[must_use]
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.spec.expires_at <= now
    }
}

/// As written.
#[derive(Debug, Clone)]
pub struct Draft {
    pub provider: String,
    /// Empty: all models.
    pub model: String,
    /// `None`: neither open nor closed.
    pub held: Option<Held>,
    /// `None`: nobody says.
    pub lifetime: Option<Duration>,
    pub reason: String,
}

impl Draft {
    pub fn check(self, now: SystemTime) -> Result<Spec, Vec<FieldViolation>> {
        let Self {
            provider,
            model,
            held,
            lifetime,
            reason,
        } = self;
        let mut violations = Violations::default();
        let provider = violations.check("provider", ProviderName::parse(&provider));
        let model = (!model.is_empty())
            .then(|| violations.check("model", ModelName::parse(&model)))
            .flatten();
        if held.is_none() {
            violations.add("state", "must be open or closed");
        }
        let lifetime = lifetime.unwrap_or(LIFETIME_DEFAULT);
        if lifetime.is_zero() || lifetime > LIFETIME_MAX {
            violations.add(
                "lifetime",
                format!("must be more than 0 and at most {} s", LIFETIME_MAX.as_secs()),
            );
        }
        if reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(char::is_control) {
            violations.add(
                "reason",
                format!("must have at most {REASON_CHARS_MAX} characters, and no control characters"),
            );
        }
        let spec = provider.zip(held).map(|(provider, held)| Spec {
            provider,
            model,
            held,
            expires_at: super::to_the_millisecond(now + lifetime.min(LIFETIME_MAX)),
            reason,
        });
        violations.finish(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft {
            provider: "qwen".to_owned(),
            model: String::new(),
            held: Some(Held::Open),
            lifetime: None,
            reason: "maintenance".to_owned(),
        }
    }

    #[test]
    fn it_holds_for_an_hour_unless_somebody_says() {
        let now = SystemTime::UNIX_EPOCH;
        let spec = draft().check(now).unwrap();
        assert_eq!((spec.model, spec.expires_at), (None, now + LIFETIME_DEFAULT));
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let bad = Draft {
            provider: "Not a name".to_owned(),
            model: "a b".to_owned(),
            held: None,
            lifetime: Some(LIFETIME_MAX + Duration::from_secs(1)),
            reason: "x".repeat(REASON_CHARS_MAX + 1),
        };
        let violations = bad.check(SystemTime::UNIX_EPOCH).unwrap_err();
        let fields: Vec<_> = violations
            .iter()
            .map(|violation| violation.field.as_str())
            .collect();
        assert_eq!(fields, ["provider", "model", "state", "lifetime", "reason"]);
    }
}
