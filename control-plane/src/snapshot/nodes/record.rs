//! What is known of one node.

use std::net::SocketAddr;
use std::time::SystemTime;

use bridge_proto::fleet::v1 as fleet;
use url::Url;

use crate::domain::node::Certified;
use crate::snapshot::ledger::Target;
use crate::snapshot::point::Point;

/// The schema that resources are written in.
pub(crate) const SCHEMA: u32 = 1;
/// The contract's limits for what a node reports.
const BREAKERS_MAX: usize = 200;
const QUARANTINES_MAX: usize = 200;
/// Reasons of one refusal that are kept.
const REFUSALS_MAX: usize = 20;
/// Of a word or reason that a node says.
const TEXT_CHARS_MAX: usize = 300;

/// What a node says of itself when it subscribes, and how it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) build: String,
    pub(crate) public_address: String,
    pub(crate) remote_address: Option<SocketAddr>,
    pub(crate) schema_max: u32,
    pub(crate) capabilities: Vec<fleet::Capability>,
    pub(crate) identity: Identity,
}

impl Facts {
    /// Whether it can read what it would be sent.
    pub(crate) fn is_compatible(&self) -> bool {
        self.schema_max >= SCHEMA
    }

    pub(crate) fn can(&self, capability: fleet::Capability) -> bool {
        self.capabilities.contains(&capability)
    }

    /// Where it can be called: where its stream comes from, at the port that it names. A node is not
    /// believed any other place.
    pub(crate) fn reached_at(&self) -> Option<Url> {
        let named = Url::parse(&self.public_address).ok()?;
        let ip = self.remote_address?.ip().to_canonical();
        let address = SocketAddr::new(ip, named.port_or_known_default()?);
        Url::parse(&format!("{}://{address}", named.scheme())).ok()
    }

    /// What people are shown: what it says, unless that is the address of everywhere.
    pub(crate) fn shown_address(&self) -> String {
        let is_everywhere = match Url::parse(&self.public_address).ok().as_ref().and_then(Url::host) {
            Some(url::Host::Ipv4(ip)) => ip.is_unspecified(),
            Some(url::Host::Ipv6(ip)) => ip.is_unspecified(),
            Some(url::Host::Domain(_)) | None => false,
        };
        match self.reached_at() {
            Some(url) if is_everywhere => url.as_str().trim_end_matches('/').to_owned(),
            Some(_) | None => self.public_address.clone(),
        }
    }
}

/// How a node proved who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Identity {
    /// With the token that all nodes share.
    #[default]
    Token,
    Certificate(Certified),
}

/// What a node has answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    pub(crate) acked: Option<Point>,
    /// With the first of its reasons.
    pub(crate) refused: Option<(Point, String)>,
}

/// A reason of a node not to take a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// `provider/qwen`, or empty for the whole.
    pub(crate) resource: String,
    pub(crate) reason: String,
}

impl Refused {
    /// Those of a refusal, within limits.
    pub(crate) fn of(refusals: &[fleet::Refusal]) -> Vec<Self> {
        let refusals = refusals.iter().take(REFUSALS_MAX);
        let refusals = refusals.map(|fleet::Refusal { resource, reason }| Self {
            resource: resource.as_ref().map(name_of).unwrap_or_default(),
            reason: short(reason.clone()),
        });
        refusals.collect()
    }
}

fn name_of(key: &fleet::ResourceKey) -> String {
    let kind = match key.kind() {
        fleet::ResourceKind::Provider => "provider",
        fleet::ResourceKind::ApiKey => "api_key",
        fleet::ResourceKind::ModelRule => "model_rule",
        fleet::ResourceKind::Settings => "settings",
        fleet::ResourceKind::BreakerOverride => "breaker_override",
        fleet::ResourceKind::Unspecified => "unknown",
    };
    short(format!("{kind}/{}", key.id))
}

/// Where a node is on its way to the newest version.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) acked: Option<Point>,
    /// Up to this revision it holds everything.
    pub(crate) complete_to: Option<u64>,
    pub(crate) sent: Option<u64>,
    /// The last refusal, until something newer and complete is acknowledged.
    pub(crate) refused: Option<(Point, Vec<Refused>)>,
}

impl Progress {
    pub(crate) fn acknowledge(&mut self, target: Target) {
        self.acked = Some(target.point);
        self.complete_to = Some(target.complete_to);
        let is_over = |refused: &Point| target.complete_to >= refused.revision();
        self.refused = self.refused.take().filter(|(refused, _)| !is_over(refused));
    }

    pub(crate) fn has_acked(&self, revision: u64) -> bool {
        self.acked.is_some_and(|acked| acked.revision() >= revision)
    }

    pub(crate) fn has_refused(&self, revision: u64) -> bool {
        let refused = self.refused.as_ref();
        refused.is_some_and(|(refused, _)| refused.revision() >= revision)
    }

    pub(super) fn answer(&self) -> Answer {
        let reason = |refusals: &[Refused]| match refusals.first() {
            Some(Refused { resource, reason }) if resource.is_empty() => reason.clone(),
            Some(Refused { resource, reason }) => format!("{resource}: {reason}"),
            None => "it did not say why".to_owned(),
        };
        Answer {
            acked: self.acked,
            refused: self
                .refused
                .as_ref()
                .map(|(point, refusals)| (*point, reason(refusals))),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) facts: Facts,
    pub(crate) progress: Progress,
    pub(crate) status: fleet::NodeStatus,
    pub(crate) connected_at: SystemTime,
    pub(crate) last_seen_at: SystemTime,
}

impl Record {
    pub(super) fn new(facts: Facts, held: Option<Point>, now: SystemTime) -> Self {
        let progress = Progress {
            acked: held,
            complete_to: held.map(|held| held.revision()),
            ..Progress::default()
        };
        Self {
            facts,
            progress,
            status: fleet::NodeStatus::default(),
            connected_at: now,
            last_seen_at: now,
        }
    }

    /// It came with nothing, and gets nothing.
    pub(super) fn holds_nothing_for_good(&self) -> bool {
        !self.facts.is_compatible() && self.progress.acked.is_none()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.status.draining
    }

    pub(super) fn requests_in_flight(&self) -> u64 {
        self.status.requests_in_flight
    }

    /// Takes what a node reports, within the contract's limits.
    pub(super) fn report(&mut self, mut status: fleet::NodeStatus) {
        status.breakers.truncate(BREAKERS_MAX);
        status.quarantines.truncate(QUARANTINES_MAX);
        // Whoever shares the limits out has read them.
        status.key_uses = Vec::new();
        for breaker in &mut status.breakers {
            for text in [&mut breaker.provider, &mut breaker.model, &mut breaker.reason] {
                *text = short(std::mem::take(text));
            }
        }
        for quarantine in &mut status.quarantines {
            for text in [&mut quarantine.provider, &mut quarantine.reason] {
                *text = short(std::mem::take(text));
            }
        }
        self.status = status;
    }
}

/// What is said must not fill the memory.
pub(crate) fn short(text: String) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_reports_is_kept_within_limits() {
        let mut record = Record::new(Facts::default(), None, SystemTime::UNIX_EPOCH);
        let breaker = fleet::BreakerStatus {
            provider: "é".repeat(10_000),
            ..Default::default()
        };
        record.report(fleet::NodeStatus {
            breakers: vec![breaker; 300],
            key_uses: vec![fleet::KeyUse::default()],
            ..Default::default()
        });
        assert_eq!(record.status.breakers.len(), BREAKERS_MAX);
        assert_eq!(record.status.breakers[0].provider.chars().count(), TEXT_CHARS_MAX);
        assert!(record.status.key_uses.is_empty());
        let refusals = Refused::of(&vec![fleet::Refusal::default(); 100]);
        assert_eq!(refusals.len(), REFUSALS_MAX);
    }

    fn check_address(named: &str, remote: &str, reached: &str, shown: &str) {
        let facts = Facts {
            public_address: named.to_owned(),
            remote_address: Some(remote.parse().unwrap()),
            ..Facts::default()
        };
        let found = facts.reached_at().map(String::from).unwrap_or_default();
        assert_eq!(
            (found.as_str(), facts.shown_address().as_str()),
            (reached, shown),
            "{named}"
        );
    }

    #[test]
    fn a_node_is_called_where_it_comes_from_and_nowhere_else() {
        let (remote, reached) = ("10.0.0.7:52011", "http://10.0.0.7:8000/");
        check_address("http://0.0.0.0:8000", remote, reached, "http://10.0.0.7:8000");
        check_address(
            "http://[::]:8000",
            "[::1]:5",
            "http://[::1]:8000/",
            "http://[::1]:8000",
        );
        check_address(
            "http://169.254.169.254:8000",
            remote,
            reached,
            "http://169.254.169.254:8000",
        );
        check_address(
            "http://name.example:8000",
            remote,
            reached,
            "http://name.example:8000",
        );
        check_address("", remote, "", "");
        check_address("8000", remote, "", "8000");
    }

    #[test]
    fn a_refusal_is_shown_until_what_was_refused_is_held() {
        let mut progress = Progress {
            refused: Some((Point::test(7), vec![])),
            ..Progress::default()
        };
        progress.acknowledge(Target {
            complete_to: 6,
            ..Target::test(8)
        });
        assert!(progress.refused.is_some(), "a revocation went past it");
        progress.acknowledge(Target::test(8));
        assert!(progress.refused.is_none());
    }
}
