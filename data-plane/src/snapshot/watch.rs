//! Keeps the live configuration equal to the control plane's.
//!
//! One long stream: configuration comes down, what this node holds and sees goes up. If it
//! is silent or ends, the node serves on with what it has and connects again.

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
mod stream;
mod tls;
mod turn;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_proto::fleet::v1::watch_request::Message as Up;
use futures_util::StreamExt;
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
    link::Link,
    stream::Stream,
};
use super::cache::{Cache, Inbox, Restored};
use crate::{config::Fleet, node::Node};

const STATUS_INTERVAL: Duration = Duration::from_secs(5);
/// A stream that lasted this long was a good one.
const STABLE_AFTER: Duration = Duration::from_secs(30);
const UPWARD_QUEUE: usize = 32;

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

        let mut stream = Stream::new(self, up);
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

#[cfg(test)]
mod tests;
