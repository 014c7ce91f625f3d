//! Writes what goes up the stream.

use std::time::Instant;

use bridge_proto::fleet::v1 as proto;
use prost_types::Timestamp;

use super::shares;
use crate::{
    clock::Clock,
    config::Fleet,
    node::Node,
    snapshot::{Held, Snapshot, Version, decode},
    upstream::{admission::TOLD_MAX, breaker, outcome::Class, probe},
};

/// The newest schema that this build understands.
const SCHEMA_MAX: u32 = 1;

pub(super) fn request(message: proto::watch_request::Message) -> proto::WatchRequest {
    proto::WatchRequest {
        message: Some(message),
    }
}

pub(super) fn version(version: Version) -> proto::StoreVersion {
    let Version {
        cluster,
        epoch,
        revision,
    } = version;
    proto::StoreVersion {
        cluster_id: cluster.to_vec(),
        epoch,
        revision,
    }
}

pub(super) fn subscribe(fleet: &Fleet, boot_id: &str, held: Option<&Snapshot>) -> proto::Subscribe {
    proto::Subscribe {
        node_id: fleet.node_id.clone(),
        boot_id: boot_id.to_owned(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
        schema_max: SCHEMA_MAX,
        capabilities: vec![
            proto::Capability::Delta.into(),
            proto::Capability::Probe.into(),
            proto::Capability::TerminateStreams.into(),
            proto::Capability::AnthropicProviders.into(),
            proto::Capability::Explain.into(),
            proto::Capability::KeyLimits.into(),
        ],
        held: held.map(|held| version(held.version)),
        held_state_hash: held.map(|held| held.state_hash.to_vec()).unwrap_or_default(),
        public_address: format!("http://{}", fleet.public),
    }
}

pub(super) fn nack(version: Option<proto::StoreVersion>, refusals: Vec<decode::Refusal>) -> proto::Nack {
    let refusals = refusals
        .into_iter()
        .map(|decode::Refusal { resource, reason }| proto::Refusal {
            resource: resource.map(|decode::ResourceName { kind, id }| proto::ResourceKey {
                kind: kind.into(),
                id,
            }),
            reason,
        })
        .collect();
    proto::Nack { version, refusals }
}

pub(super) fn status(node: &Node, now: Instant) -> proto::NodeStatus {
    let held = node.live.held();
    proto::NodeStatus {
        held: held.as_ref().map(|held| version(held.version)),
        state_hash: held
            .as_ref()
            .map(|held| held.state_hash.to_vec())
            .unwrap_or_default(),
        requests_in_flight: node.requests_in_flight(),
        config_age: node.live.age(now).try_into().ok(),
        draining: node.life.is_draining(),
        breakers: breakers(node, held.as_deref(), now),
        quarantines: node
            .upstreams
            .quarantined(|provider, class, since| quarantine(provider, class, since, &node.clock)),
        key_uses: shares::uses(&node.limits, now),
    }
}

/// Those that an admin holds, and behind them those that traffic has opened.
fn breakers(node: &Node, snapshot: Option<&Snapshot>, now: Instant) -> Vec<proto::BreakerStatus> {
    let mut told = snapshot
        .map(|snapshot| node.upstreams.held(snapshot, now, held))
        .unwrap_or_default();
    let opened = node
        .upstreams
        .unhealthy(|provider, model, state| breaker(provider, model, state, &node.clock));
    let is_held = |told: &[proto::BreakerStatus], own: &proto::BreakerStatus| {
        told.iter()
            .any(|held| (&held.provider, &held.model) == (&own.provider, &own.model))
    };
    let opened: Vec<_> = opened.into_iter().filter(|own| !is_held(&told, own)).collect();
    told.extend(opened);
    told.truncate(TOLD_MAX);
    told
}

fn held(provider: &str, model: Option<&str>, held: Held) -> proto::BreakerStatus {
    let (state, reason) = match held {
        Held::Open => (proto::BreakerState::Open, "an admin holds it open"),
        Held::Closed => (proto::BreakerState::Closed, "an admin holds it closed"),
    };
    proto::BreakerStatus {
        provider: provider.to_owned(),
        model: model.unwrap_or_default().to_owned(),
        state: state.into(),
        since: None,
        reason: reason.to_owned(),
    }
}

fn breaker(provider: &str, model: &str, state: breaker::State, clock: &Clock) -> proto::BreakerStatus {
    let (state, opened) = match state {
        breaker::State::Closed { .. } => (proto::BreakerState::Closed, None),
        breaker::State::Open { opened, .. } => (proto::BreakerState::Open, Some(opened)),
        breaker::State::HalfOpen { opened, .. } => (proto::BreakerState::HalfOpen, Some(opened)),
    };
    let reason = opened.map(|opened| opened.reason.to_string());
    proto::BreakerStatus {
        provider: provider.to_owned(),
        model: model.to_owned(),
        state: state.into(),
        since: opened.map(|opened| date(clock, opened.since)),
        reason: reason.unwrap_or_default(),
    }
}

fn quarantine(provider: &str, class: Class, since: Instant, clock: &Clock) -> proto::QuarantineStatus {
    proto::QuarantineStatus {
        provider: provider.to_owned(),
        since: Some(date(clock, since)),
        reason: class.text().to_owned(),
    }
}

fn date(clock: &Clock, at: Instant) -> Timestamp {
    clock.at(at).into()
}

pub(super) fn probe_result((probe_id, report): (String, probe::Report)) -> proto::ProbeResult {
    let probe::Report {
        latency,
        http_status,
        failure,
    } = report;
    let (error_class, message) = failure.unwrap_or_default();
    proto::ProbeResult {
        probe_id,
        ok: error_class.is_empty(),
        latency: latency.try_into().ok(),
        http_status: http_status.into(),
        error_class,
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        node, request_id::RequestId, routing::Candidate, snapshot::decode::tests as fixture,
        upstream::outcome::Failure,
    };

    #[test]
    fn what_is_out_of_order_is_told_with_its_reason() {
        let now = Instant::now();
        let node = node::tests::node();
        let snapshot = Arc::new(fixture::snapshot());
        let fail = |provider: &str, class| {
            let candidate = Candidate {
                provider: Arc::new(fixture::provider(provider, 1, &["m"], &[])),
                model: "m".into(),
            };
            let id = RequestId::new();
            let admitted = node.upstreams.admit(&snapshot, &candidate, &id, now);
            admitted.ok().unwrap().fail(&Failure::new(class, provider.into()));
        };
        for _ in 0..snapshot.settings.breaker.failure_threshold {
            fail("broken", Class::Reset);
        }
        fail("banned", Class::Said(bridge_translate::error::FaultKind::Quota));
        fail("limited", Class::RATE_LIMITED);
        let told = status(&node, now);
        let [breaker] = &told.breakers[..] else {
            panic!("{:?}", told.breakers)
        };
        assert_eq!((&*breaker.provider, &*breaker.model), ("broken", "m"));
        assert_eq!(breaker.state(), proto::BreakerState::Open);
        assert_eq!(breaker.reason, "it failed too often in a row");
        assert!(breaker.since.is_some());
        let [quarantine] = &told.quarantines[..] else {
            panic!("{:?}", told.quarantines)
        };
        assert_eq!(
            (&*quarantine.provider, &*quarantine.reason),
            ("banned", "its account is empty or over its quota")
        );
    }
}
