//! What a new data plane shows once to get its certificate: `bjt-<id>-<secret><checksum>`.
//! A token opens one enrolment, for a short time, and is gone with it.

use std::time::{Duration, SystemTime};

use super::credential::{self, Id, Kind, SecretHash};
use super::node::NodeId;
use super::{FieldViolation, Violations, to_the_millisecond};

/// What every token begins with.
pub const PREFIX: &str = "bjt-";
/// How long a token lives if nobody says, and at most.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(15 * 60);
const LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// Tokens that wait for their nodes.
pub const TOKENS_MAX: usize = 100;

/// Join tokens, as a kind of credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JoinTokens {}

impl Kind for JoinTokens {
    const NAME: &'static str = "a join token";
    const PREFIX: &'static str = PREFIX;
    const HASH_DOMAIN: &'static [u8] = b"bridge-join-token-v1";
}

pub type JoinTokenId = Id<JoinTokens>;
pub type JoinTokenHash = SecretHash<JoinTokens>;
pub type Minted = credential::Minted<JoinTokens>;

/// A new token out of 32 random bytes for the secret and 12 for the id.
#[must_use]
pub fn mint(secret: [u8; 32], id: [u8; 12]) -> Minted {
    credential::mint(secret, id)
}

/// What a token says of itself, if it is one and has no typo.
#[must_use]
pub fn read(text: &str) -> Option<(JoinTokenId, JoinTokenHash)> {
    credential::read(text)
}

/// What somebody asks of a token, not yet checked.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Empty: any.
    pub node_id: String,
    /// `None`: the usual time.
    pub lifetime: Option<Duration>,
}

/// What somebody decided about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// `None`: for a node of any name that is free.
    pub node: Option<NodeId>,
    /// From then on it opens nothing.
    pub expires_at: SystemTime,
}

impl Draft {
    pub fn check(&self, now: SystemTime) -> Result<Spec, Vec<FieldViolation>> {
        let Self { node_id, lifetime } = self;
        let mut violations = Violations::default();
        let node = match node_id.as_str() {
            "" => None,
            text => violations.check("node_id", NodeId::parse(text).ok_or_else(NodeId::rule)),
        };
        let lifetime = lifetime.unwrap_or(LIFETIME_DEFAULT);
        if lifetime < Duration::from_secs(1) || lifetime > LIFETIME_MAX {
            let seconds = LIFETIME_MAX.as_secs();
            violations.add("lifetime", format!("must be 1 to {seconds} s"));
        }
        violations.finish(Some(Spec {
            node,
            expires_at: to_the_millisecond(now + lifetime.min(LIFETIME_MAX)),
        }))
    }
}

/// Why a token lets nobody in. What it was meant for is told to its holder alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the join token is not valid or was used before; an admin makes another one")]
    Unknown,
    #[error("the join token has expired; an admin makes another one")]
    Expired,
    #[error("the join token is for a data plane of another name; see NODE_ID")]
    OtherNode,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub id: JoinTokenId,
    pub hash: JoinTokenHash,
    pub spec: Spec,
    pub created_at: SystemTime,
}

impl JoinToken {
    #[must_use]
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.spec.expires_at <= now
    }

    /// Whether it lets this node in, if it is the one that was shown.
    pub fn admit(&self, shown: JoinTokenHash, node: &NodeId, now: SystemTime) -> Result<(), Refusal> {
        if self.hash != shown {
            return Err(Refusal::Unknown);
        }
        if self.has_expired(now) {
            return Err(Refusal::Expired);
        }
        match &self.spec.node {
            Some(meant) if meant != node => Err(Refusal::OtherNode),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const SECOND: Duration = Duration::from_secs(1);

    fn token(draft: &Draft) -> (JoinToken, JoinTokenHash) {
        let minted = mint([3; 32], [4; 12]);
        let (id, shown) = read(minted.secret.expose_secret()).unwrap();
        let token = JoinToken {
            id,
            hash: minted.hash,
            spec: draft.check(NOW).unwrap(),
            created_at: NOW,
        };
        (token, shown)
    }

    #[test]
    fn a_token_lives_a_quarter_of_an_hour_unless_somebody_says_otherwise() {
        let lives = |lifetime: Option<u64>| {
            let draft = Draft {
                lifetime: lifetime.map(Duration::from_secs),
                ..Draft::default()
            };
            let spec = draft.check(NOW).ok()?;
            Some(spec.expires_at.duration_since(NOW).unwrap().as_secs())
        };
        assert_eq!(lives(None), Some(900));
        assert_eq!((lives(Some(1)), lives(Some(3600))), (Some(1), Some(3600)));
        assert_eq!((lives(Some(0)), lives(Some(3601))), (None, None));
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let draft = Draft {
            node_id: "x".repeat(129),
            lifetime: Some(Duration::ZERO),
        };
        let violations = draft.check(NOW).unwrap_err();
        let fields: Vec<_> = violations.iter().map(|it| it.field.as_str()).collect();
        assert_eq!(fields, ["node_id", "lifetime"]);
    }

    #[test]
    fn a_token_opens_for_its_node_until_it_expires() {
        let (a, b) = (NodeId::parse("a").unwrap(), NodeId::parse("b").unwrap());
        let (any, shown) = token(&Draft::default());
        assert_eq!(any.admit(shown, &a, NOW), Ok(()));
        assert_eq!(any.admit(shown, &b, NOW + 899 * SECOND), Ok(()));
        assert_eq!(any.admit(shown, &a, NOW + 900 * SECOND), Err(Refusal::Expired));
        let guess = JoinTokenHash::from_bytes([0; 32]);
        let told = any.admit(guess, &a, NOW + 900 * SECOND);
        assert_eq!(told, Err(Refusal::Unknown), "a guess is told nothing");
        let draft = Draft {
            node_id: "a".into(),
            ..Draft::default()
        };
        let (named, shown) = token(&draft);
        assert_eq!(named.admit(shown, &a, NOW), Ok(()));
        assert_eq!(named.admit(shown, &b, NOW), Err(Refusal::OtherNode));
    }
}
