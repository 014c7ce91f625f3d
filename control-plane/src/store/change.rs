//! What can be asked of the writer, and what is kept of it for those who follow.

use std::{fmt, time::SystemTime};

use crate::domain::{
    api_key::{ApiKey, KeyId},
    audit::AuditEntry,
    breaker_override::{BreakerOverride, OverrideId},
    join_token::{JoinToken, JoinTokenId},
    model::{ModelRule, RuleId},
    node::{FleetNode, NodeId},
    provider::{Provider, ProviderName},
    service_token::{ServiceToken, TokenId},
    session::{Session, SessionId},
    settings::Settings,
    user::{User, UserId},
};

/// The kinds of things whose changes raise the revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    User,
    Provider,
    ApiKey,
    ModelRule,
    Settings,
    ServiceToken,
    BreakerOverride,
    JoinToken,
    Node,
}

impl Kind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Provider => "provider",
            Self::ApiKey => "api_key",
            Self::ModelRule => "model_rule",
            Self::Settings => "settings",
            Self::ServiceToken => "service_token",
            Self::BreakerOverride => "breaker_override",
            Self::JoinToken => "join_token",
            Self::Node => "node",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [
            Self::User,
            Self::Provider,
            Self::ApiKey,
            Self::ModelRule,
            Self::Settings,
            Self::ServiceToken,
            Self::BreakerOverride,
            Self::JoinToken,
            Self::Node,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What must hold of a thing before it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It is not there yet.
    Absent,
    /// It is there.
    Present,
    /// It is there and was last changed by this revision.
    Revision(u64),
    /// Nothing.
    Any,
}

/// Named secrets of the control plane itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedName {
    /// Tells the right master key from a wrong one.
    KeyCheck,
    /// Signs access tokens.
    SigningKey,
    /// Signs certificates of data planes, and that of the fleet listener.
    Authority,
}

impl SealedName {
    pub const ALL: [Self; 3] = [Self::KeyCheck, Self::SigningKey, Self::Authority];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KeyCheck => "key_check",
            Self::SigningKey => "signing_key",
            Self::Authority => "authority",
        }
    }
}

#[derive(Debug)]
pub enum Change {
    PutUser(User, Expect),
    /// Ends the user's sessions and service tokens too.
    DeleteUser(UserId, Expect),
    PutProvider(Provider, Expect),
    /// No rule may lead to it any more.
    DeleteProvider(ProviderName, Expect),
    PutApiKey(ApiKey, Expect),
    DeleteApiKey(KeyId, Expect),
    /// The provider that it leads to must be there.
    PutModelRule(ModelRule, Expect),
    /// Puts a rule at a place of the list, from 0; others may have to move too.
    PlaceModelRule(RuleId, usize),
    DeleteModelRule(RuleId, Expect),
    PutSettings(Settings, Expect),
    /// Its maker must be there.
    PutServiceToken(ServiceToken, Expect),
    DeleteServiceToken(TokenId, Expect),
    /// Its provider must be there. Takes the place of one about the same breaker, and of
    /// those that are over.
    PutBreakerOverride(BreakerOverride),
    DeleteBreakerOverride(OverrideId, Expect),
    /// Those that have expired go; only so many may wait.
    PutJoinToken(JoinToken, Expect),
    DeleteJoinToken(JoinTokenId, Expect),
    PutNode(FleetNode, Expect),
    DeleteNode(NodeId, Expect),
    /// What was spent of the budgets of one key counts for another one.
    CarrySpent {
        from: KeyId,
        to: KeyId,
    },
    /// The user owns no more than that by now; otherwise none of the changes happens.
    OwnerHasRoom(UserId, KeyRoom),
    /// Nothing was changed since this revision; otherwise none of the changes happens.
    BasedOn(u64),
    PutSealed(SealedName, Vec<u8>),
    Session(SessionChange),
}

/// Bookkeeping about who is signed in. It is not configuration: it neither raises
/// the revision nor reaches a data plane.
#[derive(Debug)]
pub enum SessionChange {
    /// A new session has generation 0, a refreshed one the next after the stored.
    Put(Session),
    /// Nothing happens if it is gone already.
    Delete(UserId, SessionId),
    RecordLogin(UserId, SystemTime),
    /// Nothing happens if it is gone already.
    RecordTokenUse(TokenId, SystemTime),
}

/// How many keys somebody may own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRoom {
    /// Of those that have not expired at this moment. `None`: as many as they like.
    pub live_max: Option<usize>,
    pub at: SystemTime,
}

/// Makes a repeated request harmless for 24 hours.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// Who asks: keys of different callers do not meet.
    pub caller: UserId,
    pub key: String,
    /// SHA-256 over what is asked for.
    pub fingerprint: [u8; 32],
    /// What a repetition is answered with: the id of what was made.
    pub result: String,
}

/// Changes that happen together or not at all.
#[derive(Debug)]
pub struct Commit {
    pub changes: Vec<Change>,
    pub audit: AuditEntry,
    pub idempotency: Option<Idempotency>,
}

/// A commit that survives a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The store's revision with this commit in it.
    pub revision: u64,
}

/// A thing that a revision changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoggedChange {
    pub(super) revision: u64,
    pub(super) kind: Kind,
    /// The settings have the empty one.
    pub(super) id: String,
    /// Takes something away from somebody: it must not wait for later changes.
    pub(super) urgent: bool,
}
