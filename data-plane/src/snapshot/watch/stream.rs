//! What one stream brings, and what is done about it.
//!
//! A snapshot is decoded beside the live one inside a panic boundary, swapped in, and only
//! then acknowledged.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use bridge_proto::fleet::v1::{self as proto, watch_request::Message as Up, watch_response::Message as Down};
use futures_util::{future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    super::{KeyId, Snapshot, Version, decode},
    Watcher, explain,
    incoming::{Incoming, Step},
    message, shares,
};
use crate::{
    metrics::ResultLabel,
    node::Node,
    upstream::probe::{self, Probe},
};

const PROBES_MAX: usize = 8;
/// Explanations that are worked out at the same time. The control plane asks for no more.
const EXPLAINS_MAX: usize = 4;

/// The state of one stream.
pub(super) struct Stream<'a> {
    watcher: &'a Watcher,
    up: mpsc::Sender<proto::WatchRequest>,
    incoming: Incoming,
    /// What this node refused last.
    refused: Option<Version>,
    pub(super) probes: FuturesUnordered<BoxFuture<'static, (String, probe::Report)>>,
    pub(super) explains: FuturesUnordered<BoxFuture<'static, proto::Explained>>,
}

impl<'a> Stream<'a> {
    pub(super) fn new(watcher: &'a Watcher, up: mpsc::Sender<proto::WatchRequest>) -> Self {
        Self {
            watcher,
            up,
            incoming: Incoming::default(),
            refused: None,
            probes: FuturesUnordered::new(),
            explains: FuturesUnordered::new(),
        }
    }

    /// A full queue means that the control plane does not read: the stream will end by
    /// itself, and everything that goes up is said again on the next one.
    pub(super) fn send(&self, message: Up) {
        if self.up.try_send(message::request(message)).is_err() {
            warn!("the control plane does not read what this node says");
        }
    }

    pub(super) fn send_status(&self) {
        self.send(Up::Status(message::status(&self.watcher.node, Instant::now())));
    }

    pub(super) async fn take(&mut self, message: Down) {
        match message {
            Down::SnapshotBegin(begin) => {
                let step = self.incoming.begin(begin);
                self.step(step).await;
            }
            Down::SnapshotChunk(chunk) => {
                let step = self.incoming.add(chunk);
                self.step(step).await;
            }
            Down::SnapshotEnd(end) => {
                let step = self.incoming.end(end);
                self.step(step).await;
            }
            Down::Heartbeat(heartbeat) => self.compare(heartbeat),
            Down::Delta(delta) => self.change(delta).await,
            Down::Probe(probe) => self.probe(probe),
            Down::Drain(proto::Drain {}) => {
                info!("the control plane asks this node to drain");
                self.watcher.shutdown.cancel();
            }
            Down::Explain(question) => self.explain(question),
            Down::KeyShares(told) => shares::take(told, &self.watcher.node.limits, Instant::now()),
            Down::TerminateStreams(proto::TerminateStreams { key_ids }) => self.terminate(&key_ids),
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Wait => {}
            Step::Lost => self.resync("parts of a snapshot came without its beginning"),
            Step::Refuse(version, reason) => self.refuse(version, vec![decode::Refusal::whole(reason)]),
            Step::Whole(received) => self.judge(received).await,
        }
    }

    async fn judge(&mut self, received: decode::Received) {
        let version = received.version;
        let (held, accept) = (
            self.watcher.node.live.held(),
            self.watcher.fleet.accept_new_cluster,
        );
        // A large one takes a while, and a panic in it must not end this node.
        let decoded = tokio::task::spawn_blocking(move || decode::decode(&received, held.as_deref(), accept));
        let refusals = match decoded.await {
            Ok(Ok(snapshot)) => return self.apply(snapshot, "applied"),
            Ok(Err(refusals)) => refusals,
            Err(_panicked) => vec![decode::Refusal::whole("decoding it panicked")],
        };
        self.refuse(Some(message::version(version)), refusals);
    }

    /// The changes since what is held.
    async fn change(&mut self, delta: proto::Delta) {
        let Some(changed) = decode::Changed::of(delta) else {
            return self.resync("a change does not say where it leads");
        };
        let Some(held) = self.watcher.node.live.held() else {
            return self.resync("a change came before there was anything to change");
        };
        let version = changed.to;
        if version == held.version && changed.state_hash == held.state_hash {
            // It came twice.
            return self.send(Up::Ack(proto::Ack {
                version: Some(message::version(version)),
            }));
        }
        let decoded = tokio::task::spawn_blocking(move || decode::apply(&changed, &held));
        let refusals = match decoded.await {
            Ok(Ok(snapshot)) => return self.apply(snapshot, "changed"),
            Ok(Err(decode::Misfit::Gap(reason))) => return self.resync(reason),
            Ok(Err(decode::Misfit::Refused(refusals))) => refusals,
            Err(_panicked) => vec![decode::Refusal::whole("decoding it panicked")],
        };
        self.refuse(Some(message::version(version)), refusals);
    }

    fn apply(&self, snapshot: Snapshot, result: &'static str) {
        let Node {
            live,
            metrics,
            upstreams,
            running,
            ..
        } = &*self.watcher.node;
        let version = snapshot.version;
        let (keys, providers) = (snapshot.keys.len(), snapshot.providers.len());
        let snapshot = Arc::new(snapshot);
        upstreams.follow(&snapshot);
        live.swap(Arc::clone(&snapshot), Instant::now());
        let ended = running.follow(&snapshot);
        metrics.process.ended_with_key.inc_by(ended);
        self.send(Up::Ack(proto::Ack {
            version: Some(message::version(version)),
        }));
        self.watcher.inbox.put(snapshot);
        metrics.config.revision.set(version.revision);
        metrics
            .config
            .snapshots
            .get_or_create(&ResultLabel { result })
            .inc();
        info!(
            snapshot.version = version.revision,
            epoch = version.epoch,
            keys,
            providers,
            "configuration applied"
        );
    }

    fn refuse(&mut self, version: Option<proto::StoreVersion>, refusals: Vec<decode::Refusal>) {
        let revision = version.as_ref().map(|version| version.revision);
        for decode::Refusal { resource, reason } in &refusals {
            let id = resource
                .as_ref()
                .map(|name| format!("{:?} {}", name.kind, name.id));
            warn!(
                snapshot.version = revision,
                resource = id,
                "configuration refused: {reason}"
            );
        }
        self.watcher
            .node
            .metrics
            .config
            .snapshots
            .get_or_create(&ResultLabel { result: "refused" })
            .inc();
        self.refused = decode::version(version.as_ref());
        self.send(Up::Nack(message::nack(version, refusals)));
    }

    /// The control plane says what it would send now.
    fn compare(&self, heartbeat: proto::Heartbeat) {
        let proto::Heartbeat {
            version,
            state_hash,
            server_time,
            live_nodes,
            last_sent,
        } = heartbeat;
        let Node {
            live, clock, limits, ..
        } = &*self.watcher.node;
        limits.live_nodes(live_nodes);
        if let Some(Ok(server_time)) = server_time.map(SystemTime::try_from) {
            clock.told(Instant::now(), SystemTime::now(), server_time);
        }
        let Some(held) = live.held() else {
            return;
        };
        if decode::version(version.as_ref()) != Some(held.version) {
            // Something newer is on its way, was refused, or was lost on its way.
            let sent = decode::version(last_sent.as_ref());
            if sent.is_some_and(|sent| self.has_lost(sent, held.version)) {
                self.resync("what the control plane sent did not come");
            }
            return;
        }
        if state_hash == held.state_hash {
            live.confirm(Instant::now());
        } else {
            self.resync("the state hash differs at the same version");
        }
    }

    /// Messages come in order: what was sent before a heartbeat has been judged by then.
    fn has_lost(&self, sent: Version, held: Version) -> bool {
        let is_newer = (sent.epoch, sent.revision) > (held.epoch, held.revision);
        sent.cluster == held.cluster && is_newer && self.refused != Some(sent)
    }

    fn terminate(&self, key_ids: &[String]) {
        let keys = key_ids.iter().filter_map(|id| KeyId::parse(id.as_bytes()));
        let node = &self.watcher.node;
        let ended = node.running.end(keys, node.live.held().as_deref());
        node.metrics.process.ended_with_key.inc_by(ended);
        info!(keys = key_ids.len(), ended, "requests end with their keys");
    }

    fn resync(&self, reason: &str) {
        warn!("asking for a whole snapshot: {reason}");
        self.watcher.node.metrics.config.resyncs.inc();
        self.send(Up::Resync(proto::Resync {
            reason: reason.to_owned(),
        }));
    }

    fn explain(&self, question: proto::Explain) {
        if self.explains.len() >= EXPLAINS_MAX {
            return warn!("the control plane asks for more explanations at once than this node gives");
        }
        let node = Arc::clone(&self.watcher.node);
        self.explains.push(Box::pin(explain::explain(node, question)));
    }

    fn probe(&self, probe: proto::Probe) {
        let proto::Probe {
            probe_id,
            provider,
            model,
            timeout,
        } = probe;
        let Some(snapshot) = self.watcher.node.live.held() else {
            return;
        };
        if self.probes.len() >= PROBES_MAX {
            let report = probe::Report::refused("this node runs as many probes as it may");
            return self.send(Up::ProbeResult(message::probe_result((probe_id, report))));
        }
        let timeout = timeout.and_then(|timeout| timeout.try_into().ok());
        let upstreams = Arc::clone(&self.watcher.node.upstreams);
        self.probes.push(Box::pin(async move {
            let report = probe::run(
                &upstreams,
                &snapshot,
                Probe {
                    provider,
                    model,
                    timeout,
                },
            )
            .await;
            (probe_id, report)
        }));
    }
}
