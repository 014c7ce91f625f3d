//! The fleet as an admin is shown it.

use std::collections::BTreeMap;

use bridge_proto::admin::v1 as admin;
use bridge_proto::fleet::v1 as fleet;

use super::merge;
use crate::domain::node::{Certificate, Certified, FleetNode, fingerprint_hex};
use crate::roster::Roster;
use crate::snapshot::feed::Feed;
use crate::snapshot::nodes::{Facts, Identity, NodeId, Nodes, Progress, Record, Refused, SCHEMA};
use crate::snapshot::point::Point;
use crate::snapshot::rollout::Rollout;

/// All of it at one moment.
pub(crate) struct View {
    /// By id.
    pub(crate) nodes: Vec<admin::Node>,
    pub(crate) published_revision: u64,
    pub(crate) connected: u32,
    pub(crate) current: u32,
    pub(crate) canary: Option<admin::CanaryStatus>,
}

pub(crate) fn of(nodes: &Nodes, roster: &Roster, feed: &Feed) -> View {
    let newest = feed.newest();
    let merged = merge::merged(here(nodes, feed), nodes).into_iter();
    let mut shown: BTreeMap<String, admin::Node> = merged.map(|node| (node.id.clone(), node)).collect();
    for member in roster.list() {
        let node = shown
            .entry(member.id.to_string())
            .or_insert_with(|| absent(&member));
        if member.revoked_at.is_some() {
            node.set_state(admin::NodeState::Revoked);
        }
    }
    let nodes: Vec<_> = shown.into_values().collect();
    let count = |is: &dyn Fn(admin::NodeState) -> bool| {
        let count = nodes.iter().filter(|node| is(node.state())).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    View {
        published_revision: newest.revision(),
        connected: count(&|state| {
            !matches!(state, admin::NodeState::Disconnected | admin::NodeState::Revoked)
        }),
        current: count(&|state| state == admin::NodeState::Current),
        canary: canary(feed.rollout(), &newest),
        nodes,
    }
}

/// Those of this control plane.
pub(super) fn here(nodes: &Nodes, feed: &Feed) -> Vec<admin::Node> {
    let newest = feed.newest();
    let all = nodes.list().into_iter();
    all.map(|(id, record, is_connected)| node(&id, record, is_connected, &newest))
        .collect()
}

fn node(id: &NodeId, record: Record, is_connected: bool, newest: &Point) -> admin::Node {
    let state = state(&record, is_connected, newest);
    let incompatibilities = incompatibilities(&record.facts);
    let public_address = record.facts.shown_address();
    let Record {
        facts,
        progress,
        status,
        connected_at,
        last_seen_at,
    } = record;
    let Facts {
        build,
        public_address: _,
        remote_address,
        schema_max: _,
        capabilities: _,
        identity,
    } = facts;
    let Progress {
        acked,
        complete_to: _,
        sent,
        refused,
    } = progress;
    let (refused_revision, refusals) = match refused {
        Some((point, refusals)) => (point.revision(), refusals),
        None => (0, Vec::new()),
    };
    let fleet::NodeStatus {
        held: _,
        state_hash: _,
        requests_in_flight,
        config_age,
        draining: _,
        breakers,
        quarantines,
        key_uses: _,
    } = status;
    admin::Node {
        id: id.to_string(),
        state: state.into(),
        build,
        public_address,
        remote_address: remote_address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        connected_at: Some(connected_at.into()),
        last_seen_at: Some(last_seen_at.into()),
        acknowledged_revision: acked.map_or(0, |acked| acked.revision()),
        sent_revision: sent.unwrap_or(0),
        refused_revision,
        refusals: refusals.into_iter().map(refusal).collect(),
        config_age,
        requests_in_flight,
        breakers,
        quarantines,
        identity: Some(self::identity(identity)),
        incompatibilities,
    }
}

/// A node that has a certificate or was revoked, and has not been here.
fn absent(member: &FleetNode) -> admin::Node {
    let identity = member.certificate.map(|certificate| {
        let Certificate {
            enrolment: _,
            fingerprint,
            issued_at: _,
            expires_at,
        } = certificate;
        admin::NodeIdentity {
            is_token: false,
            certificate_fingerprint: fingerprint_hex(&fingerprint),
            certificate_expires_at: Some(expires_at.into()),
        }
    });
    admin::Node {
        id: member.id.to_string(),
        state: admin::NodeState::Disconnected.into(),
        identity,
        ..Default::default()
    }
}

fn state(record: &Record, is_connected: bool, newest: &Point) -> admin::NodeState {
    let progress = &record.progress;
    if !is_connected {
        admin::NodeState::Disconnected
    } else if record.is_draining() {
        admin::NodeState::Draining
    } else if !record.facts.is_compatible() {
        admin::NodeState::Incompatible
    } else if progress.acked.as_ref() == Some(newest) {
        admin::NodeState::Current
    } else if progress.refused.is_some() {
        admin::NodeState::Refusing
    } else {
        admin::NodeState::CatchingUp
    }
}

fn incompatibilities(facts: &Facts) -> Vec<String> {
    let lacks = [
        (fleet::Capability::Delta, "gets every change as a whole snapshot"),
        (
            fleet::Capability::TerminateStreams,
            "does not end running requests of a revoked key",
        ),
        (
            fleet::Capability::AnthropicProviders,
            "serves no providers of Anthropic's API",
        ),
        (
            fleet::Capability::KeyLimits,
            "does not enforce the limits of keys",
        ),
    ];
    let schema = (!facts.is_compatible()).then(|| {
        format!(
            "gets no configuration: it reads schemas up to {}, and this one is written in {SCHEMA}; update it",
            facts.schema_max
        )
    });
    let lacks = lacks
        .into_iter()
        .filter(|(capability, _)| !facts.can(*capability));
    schema
        .into_iter()
        .chain(lacks.map(|(_, words)| words.to_owned()))
        .collect()
}

fn refusal(refused: Refused) -> admin::NodeRefusal {
    let Refused { resource, reason } = refused;
    admin::NodeRefusal { resource, reason }
}

fn identity(identity: Identity) -> admin::NodeIdentity {
    match identity {
        Identity::Token => admin::NodeIdentity {
            is_token: true,
            certificate_fingerprint: String::new(),
            certificate_expires_at: None,
        },
        Identity::Certificate(Certified {
            node: _,
            enrolment: _,
            fingerprint,
            expires_at,
        }) => admin::NodeIdentity {
            is_token: false,
            certificate_fingerprint: fingerprint_hex(&fingerprint),
            certificate_expires_at: Some(expires_at.into()),
        },
    }
}

fn canary(rollout: Rollout, newest: &Point) -> Option<admin::CanaryStatus> {
    match rollout {
        Rollout::Settled => None,
        Rollout::Waiting { canary, .. } => Some(admin::CanaryStatus {
            revision: newest.revision(),
            node_id: canary.to_string(),
            state: admin::CanaryState::Waiting.into(),
            reason: String::new(),
        }),
        Rollout::Stopped {
            canary,
            revision,
            reason,
        } => Some(admin::CanaryStatus {
            revision,
            node_id: canary.to_string(),
            state: admin::CanaryState::Stopped.into(),
            reason,
        }),
    }
}
