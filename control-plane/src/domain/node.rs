//! A data plane as the fleet knows it: its name, the certificate that it was given, and
//! whether it was revoked.
//!
//! A certificate opens something only as long as its enrolment is the one that is kept
//! here: who was forgotten, or has enrolled again, has to show the newer one.

use std::fmt;
use std::time::SystemTime;

use super::Invalid;

/// Longest name of a node, in characters.
const NODE_ID_CHARS_MAX: usize = 128;
/// Nodes that are kept: those with a certificate, and those that were revoked.
pub const NODES_MAX: usize = 10_000;

/// The name under which a data plane subscribes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(String);

impl NodeId {
    /// One to 128 printable ASCII characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_printable = text.chars().all(|char| char.is_ascii_graphic() || char == ' ');
        (!text.trim().is_empty() && text.len() <= NODE_ID_CHARS_MAX && is_printable)
            .then(|| Self(text.to_owned()))
    }

    /// What `parse` asks for, in words.
    #[must_use]
    pub fn rule() -> Invalid {
        Invalid::new(format!(
            "must be 1 to {NODE_ID_CHARS_MAX} printable ASCII characters"
        ))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One enrolment of a node: all certificates that follow from it carry its number.
pub type EnrolmentId = [u8; 16];

/// The certificate that a node was given last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    pub enrolment: EnrolmentId,
    /// SHA-256 of it, in DER.
    pub fingerprint: [u8; 32],
    pub issued_at: SystemTime,
    pub expires_at: SystemTime,
}

/// A fingerprint as people compare it.
#[must_use]
pub fn fingerprint_hex(fingerprint: &[u8; 32]) -> String {
    fingerprint.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a certificate says that was presented, and is known to be of the fleet's authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    pub node: NodeId,
    pub enrolment: EnrolmentId,
    /// SHA-256 of it, in DER.
    pub fingerprint: [u8; 32],
    pub expires_at: SystemTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetNode {
    pub id: NodeId,
    /// `None`: it was revoked as one of those that share the node token.
    pub certificate: Option<Certificate>,
    pub revoked_at: Option<SystemTime>,
}

/// How a node proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// With the token that all nodes share, and a name that it says.
    Token,
    Certificate(EnrolmentId),
}

/// Why a node is refused that has shown something true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this data plane was revoked; an admin has to forget it before it can enrol again")]
    Revoked,
    #[error(
        "the certificate of this data plane is not known: it was forgotten, or has enrolled anew; \
         give it a new join token"
    )]
    Unknown,
    #[error("this name belongs to a data plane with a certificate, and the node token does not prove it")]
    NeedsCertificate,
}

/// Whether a node is let in that shows this; `known`: what is kept of its name.
pub fn judge(known: Option<&FleetNode>, shown: Shown) -> Result<(), Refusal> {
    match (known, shown) {
        (Some(node), _) if node.revoked_at.is_some() => Err(Refusal::Revoked),
        (Some(node), Shown::Certificate(enrolment)) => {
            let kept = node.certificate.map(|kept| kept.enrolment);
            if kept == Some(enrolment) {
                Ok(())
            } else {
                Err(Refusal::Unknown)
            }
        }
        (None, Shown::Certificate(_)) => Err(Refusal::Unknown),
        (Some(node), Shown::Token) if node.certificate.is_some() => Err(Refusal::NeedsCertificate),
        (Some(_) | None, Shown::Token) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn node(enrolment: Option<EnrolmentId>, revoked_at: Option<SystemTime>) -> FleetNode {
        let certificate = enrolment.map(|enrolment| Certificate {
            enrolment,
            fingerprint: [0; 32],
            issued_at: NOW,
            expires_at: NOW,
        });
        FleetNode {
            id: NodeId::parse("a").unwrap(),
            certificate,
            revoked_at,
        }
    }

    #[test]
    fn a_certificate_opens_while_its_enrolment_is_the_one_that_is_kept() {
        let (first, second) = ([1; 16], [2; 16]);
        let by_certificate = |known: Option<FleetNode>| judge(known.as_ref(), Shown::Certificate(first));
        assert_eq!(by_certificate(Some(node(Some(first), None))), Ok(()));
        for unknown in [None, Some(node(Some(second), None)), Some(node(None, None))] {
            assert_eq!(by_certificate(unknown), Err(Refusal::Unknown));
        }
        for enrolment in [Some(first), Some(second), None] {
            let revoked = by_certificate(Some(node(enrolment, Some(NOW))));
            assert_eq!(revoked, Err(Refusal::Revoked));
        }
    }

    #[test]
    fn the_shared_token_takes_nobodys_name() {
        let by_token = |known: Option<FleetNode>| judge(known.as_ref(), Shown::Token);
        assert_eq!(by_token(None), Ok(()));
        assert_eq!(
            by_token(Some(node(Some([1; 16]), None))),
            Err(Refusal::NeedsCertificate)
        );
        assert_eq!(by_token(Some(node(None, Some(NOW)))), Err(Refusal::Revoked));
    }

    #[test]
    fn a_name_is_printable_and_short() {
        for (text, is_name) in [
            ("a", true),
            ("node-1.eu (blue)", true),
            ("", false),
            ("  ", false),
            ("a\nb", false),
            ("ä", false),
        ] {
            assert_eq!(NodeId::parse(text).is_some(), is_name, "{text:?}");
        }
        assert!(NodeId::parse(&"x".repeat(128)).is_some() && NodeId::parse(&"x".repeat(129)).is_none());
    }
}
