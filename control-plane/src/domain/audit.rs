//! Who changed what. An entry is written with the change, never without it.

use std::{net::IpAddr, time::SystemTime};

use super::{service_token::TokenId, user::UserId};

/// Longest summary of a thing before or after a change, in bytes: two of them fit into a
/// record even if each of their bytes has to be escaped there.
pub const SUMMARY_BYTES_MAX: usize = 3 * 1024;
/// Longest method, target or request id, in bytes.
const LABEL_BYTES_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    User {
        id: UserId,
        /// At that time.
        email: String,
    },
    ServiceToken {
        id: TokenId,
        name: String,
    },
    /// The control plane itself: first start, import, session bookkeeping.
    System,
}

/// One line about a thing, without secrets, cut to a bounded length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary(String);

impl Summary {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(cut(text.into(), SUMMARY_BYTES_MAX))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a change was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    pub peer_ip: Option<IpAddr>,
    pub request_id: Option<String>,
    /// What the client calls itself. Sessions keep it, entries do not.
    pub user_agent: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    pub actor: Actor,
    /// The method, such as `ApiKeyService.CreateApiKey`.
    pub method: String,
    /// Kind and id of the thing, such as `api_key/4fT…`.
    pub target: String,
    pub before: Option<Summary>,
    pub after: Option<Summary>,
    pub origin: Origin,
    pub at: SystemTime,
}

impl AuditEntry {
    /// An entry without summaries; texts are cut to their limits.
    #[must_use]
    pub fn new(actor: Actor, method: &str, target: &str, origin: Origin, at: SystemTime) -> Self {
        let Origin {
            peer_ip,
            request_id,
            user_agent,
        } = origin;
        let request_id = request_id.map(|id| cut(id, LABEL_BYTES_MAX));
        Self {
            actor,
            method: cut(method.to_owned(), LABEL_BYTES_MAX),
            target: cut(target.to_owned(), LABEL_BYTES_MAX),
            before: None,
            after: None,
            origin: Origin {
                peer_ip,
                request_id,
                user_agent,
            },
            at,
        }
    }

    #[must_use]
    pub fn with_summaries(self, before: Option<Summary>, after: Option<Summary>) -> Self {
        Self {
            before,
            after,
            ..self
        }
    }
}

/// Cuts at a character boundary at or below `bytes_max`.
fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_cut_between_characters() {
        let summary = Summary::new("é".repeat(SUMMARY_BYTES_MAX));
        assert_eq!(summary.as_str().len(), SUMMARY_BYTES_MAX);
        assert_eq!(
            Summary::new("x".to_owned() + &"é".repeat(SUMMARY_BYTES_MAX))
                .as_str()
                .len(),
            SUMMARY_BYTES_MAX - 1
        );
    }
}
