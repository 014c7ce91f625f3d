//! Keeps the live configuration equal to the control plane's.
//!
//! One long stream: configuration comes down, what this node holds and sees goes up.
//! A snapshot is decoded beside the live one inside a panic boundary, swapped in, and
//! only then acknowledged. If the stream is silent or ends, the node serves on with
//! what it has and connects again.

mod backoff;
mod connect;
mod credential;
mod ended;
mod explain;
mod incoming;
pub(crate) mod link;
mod message;
mod renewal;
mod shares;
mod tls;
mod turn;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bridge_proto::fleet::v1::{self as proto, watch_request::Message as Up, watch_response::Message as Down};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{
    backoff::Backoff,
    credential::Credential,
    ended::{Ended, SILENCE_MAX},
    incoming::{Incoming, Step},
    link::Link,
};
use super::{
    KeyId, Snapshot, Version,
    cache::{Cache, Inbox, Restored},
    decode,
};
use crate::{
    config::Fleet,
    metrics::ResultLabel,
    node::Node,
    upstream::probe::{self, Probe},
};

const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// A stream that lasted this long was a good one.
const STABLE_AFTER: Duration = Duration::from_secs(30);
const UPWARD_QUEUE: usize = 32;
const PROBES_MAX: usize = 8;
/// Explanations that are worked out at the same time. The control plane asks for no more.
const EXPLAINS_MAX: usize = 4;

/// Everything the subscription reads and moves.
pub(crate) struct Watcher {
    pub(crate) fleet: Fleet,
    /// Tells the control plane one start of this process from the next.
    pub(crate) boot_id: String,
    /// The connection, for others who have something to say.
    pub(crate) link: watch::Sender<Option<Link>>,
    pub(crate) node: Arc<Node>,
    /// Ends the process in good order, if the control plane asks for it.
    pub(crate) shutdown: CancellationToken,
    /// Looked into while nothing is held and the last look found no token.
    pub(crate) cache: Cache,
    pub(crate) restored: Restored,
    /// Takes what came into force.
    pub(crate) inbox: Arc<Inbox>,
    /// Tells that nothing more comes into force.
    pub(crate) over: CancellationToken,
}

impl Watcher {
    /// Runs until shutdown.
    pub(crate) async fn run(mut self) {
        let _over = self.over.clone().drop_guard();
        let mut backoff = Backoff::default();
        for turn in 0.. {
            if self.node.live.held().is_none() && self.restored == Restored::NoToken {
                self.restored = self.cache.restore(&self.node).await;
            }
            let Some(url) = self.fleet.urls.get(turn % self.fleet.urls.len().max(1)) else {
                return;
            };
            let mut subscribed = None;
            let ended = tokio::select! {
                // A shutdown must not wait for a message.
                biased;
                () = self.shutdown.cancelled() => return,
                ended = self.take_turn(url, &mut subscribed) => ended,
            };
            self.node.metrics.config.is_connected.set(0);
            if subscribed.is_some_and(|since: Instant| since.elapsed() >= STABLE_AFTER) {
                backoff = Backoff::default();
            }
            let is_serving = self.node.live.current(Instant::now()).is_ok();
            let Err(reason) = ended else { return };
            if let Ended::Renewed = reason {
                info!("connecting again with the new certificate");
                continue;
            }
            let pause = if reason.needs_somebody() {
                Backoff::refused(&mut rand::rng())
            } else {
                backoff.next(is_serving, &mut rand::rng())
            };
            warn!(
                control_plane = url.host_str(),
                pause_ms = pause.as_millis() as u64,
                "watch stream ended: {reason}"
            );
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One stream, from connecting to its end.
    async fn follow_with(
        &self,
        credential: &Credential,
        url: &url::Url,
        subscribed: &mut Option<Instant>,
    ) -> Result<(), Ended> {
        let (up, upward) = mpsc::channel(UPWARD_QUEUE);
        let subscribe = message::subscribe(&self.fleet, &self.boot_id, self.node.live.held().as_deref());
        // The queue is empty and its other end is right here.
        let _ = up.try_send(message::request(Up::Subscribe(subscribe)));
        let shown = (credential.identity(), credential.bearer());
        let (mut down, link) = timeout(SILENCE_MAX, connect::open(&self.fleet, shown, url, upward))
            .await
            .map_err(|_| Ended::Silent)??;
        info!(
            node.id = self.fleet.node_id,
            control_plane = url.host_str(),
            "subscribed to the control plane"
        );
        self.node.metrics.config.is_connected.set(1);
        let mut renewal = self.renewal(credential, &link);
        self.link.send_replace(Some(link));
        *subscribed = Some(Instant::now());

        let mut stream = Stream {
            watcher: self,
            up,
            incoming: Incoming::default(),
            refused: None,
            probes: FuturesUnordered::new(),
            explains: FuturesUnordered::new(),
        };
        let mut status = interval(STATUS_INTERVAL);
        status.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent_since = Instant::now();
        loop {
            tokio::select! {
                // Our own duties are short; a flood of messages must not starve them.
                biased;
                _ = status.tick() => {
                    if silent_since.elapsed() >= SILENCE_MAX {
                        return Err(Ended::Silent);
                    }
                    stream.send_status();
                }
                Some(result) = stream.probes.next(), if !stream.probes.is_empty() => {
                    stream.send(Up::ProbeResult(message::probe_result(result)));
                }
                Some(explained) = stream.explains.next(), if !stream.explains.is_empty() => {
                    stream.send(Up::Explained(explained));
                }
                renewed = renewal.done() => {
                    self.count_certificate(&renewed, "renewed");
                    match renewed {
                        Ok(_) => return Err(Ended::Renewed),
                        Err(reason) => warn!("this node's certificate is not renewed yet: {reason}"),
                    }
                }
                message = timeout(SILENCE_MAX, down.message()) => {
                    let response = message.map_err(|_| Ended::Silent)??.ok_or(Ended::Closed)?;
                    silent_since = Instant::now();
                    if let Some(message) = response.message {
                        stream.take(message).await;
                    }
                }
            }
        }
    }
}

/// The state of one stream.
struct Stream<'a> {
    watcher: &'a Watcher,
    up: mpsc::Sender<proto::WatchRequest>,
    incoming: Incoming,
    /// What this node refused last.
    refused: Option<Version>,
    probes: FuturesUnordered<BoxFuture<'static, (String, probe::Report)>>,
    explains: FuturesUnordered<BoxFuture<'static, proto::Explained>>,
}

impl Stream<'_> {
    /// A full queue means that the control plane does not read: the stream will end by
    /// itself, and everything that goes up is said again on the next one.
    fn send(&self, message: Up) {
        if self.up.try_send(message::request(message)).is_err() {
            warn!("the control plane does not read what this node says");
        }
    }

    fn send_status(&self) {
        self.send(Up::Status(message::status(&self.watcher.node, Instant::now())));
    }

    async fn take(&mut self, message: Down) {
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

#[cfg(test)]
mod tests;
