//! `WatchService` on the fleet listener: one stream per data plane.
//!
//! A stream is one task with one loop. It never waits for the node: what it may send
//! next is decided when there is room for it, so that a node which does not read
//! holds up nobody, and costs two snapshots at most.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use futures_util::future::OptionFuture;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::explain::Explains;
use crate::probe::Probes;
use crate::shares::{Seat, Shares};
use crate::snapshot::delivery::Delivery;
use crate::snapshot::index::Published;
use crate::snapshot::nodes::{Ask, Membership, NodeId, Nodes};
use crate::telemetry::Metrics;

/// The contract's interval.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long a new stream may stay silent.
const SUBSCRIBE_WAIT: Duration = Duration::from_secs(10);
/// Snapshots that are sent at the same time.
const FULL_SENDS_MAX: usize = 4;
/// A node that reads nothing for this long no longer holds up the next one.
const TURN_STALL: Duration = Duration::from_millis(250);
/// How long the reason for an end waits for a node that does not read.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);
/// Messages that wait for the connection to take them.
const OUTBOUND_QUEUE: usize = 1;
/// Largest message from a node.
/// An explanation is the largest: it holds bodies of 3 MiB.
pub(crate) const WATCH_REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

type Outbound = mpsc::Sender<Result<fleet::WatchResponse, Status>>;
type Turn = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// Serves `WatchService`.
pub(crate) struct Watch {
    stream: StreamParts,
    tasks: TaskTracker,
}

/// What each stream needs.
#[derive(Clone)]
pub(crate) struct StreamParts {
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) nodes: Nodes,
    pub(crate) probes: Probes,
    pub(crate) explains: Explains,
    pub(crate) shares: Shares,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: CancellationToken,
    pub(crate) turns: Turns,
}

/// The right to send a whole snapshot.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FULL_SENDS_MAX)))
    }
}

impl Watch {
    pub(crate) fn new(stream: StreamParts, tasks: TaskTracker) -> Self {
        Self { stream, tasks }
    }
}

#[tonic::async_trait]
impl fleet::watch_service_server::WatchService for Watch {
    type WatchStream = ReceiverStream<Result<fleet::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<fleet::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (outbound, stream) = mpsc::channel(OUTBOUND_QUEUE);
        let parts = self.stream.clone();
        self.tasks.spawn(async move {
            if let Err(status) = serve(parts, request.into_inner(), &outbound).await {
                // A node that does not read it will find out by the end of the stream.
                let _ = outbound.send_timeout(Err(status), FAREWELL_WAIT).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn serve(
    mut parts: StreamParts,
    mut inbound: Streaming<fleet::WatchRequest>,
    outbound: &Outbound,
) -> Result<(), Status> {
    let subscribe = subscribed(&mut inbound).await?;
    let id = NodeId::parse(&subscribe.node_id)
        .ok_or_else(|| Status::invalid_argument("node_id must be 1 to 128 printable ASCII characters"))?;
    let newest = parts.published.borrow_and_update().clone();
    let holds_newest = subscribe.held.as_ref() == Some(&newest.version)
        && newest.state_hash.matches(&subscribe.held_state_hash);
    let held = subscribe
        .held
        .filter(|held| holds_newest || is_older(held, &newest.version));
    let acked = held.as_ref().map(|held| held.revision);
    let seat = parts.shares.join(&subscribe.node_id, &subscribe.boot_id);
    let member = parts.nodes.join(id, &subscribe.capabilities, acked);
    tracing::info!(
        node.id = %member.id(), build = subscribe.build, boot.id = subscribe.boot_id,
        address = subscribe.public_address, held.revision = acked, "data plane connected"
    );
    let session = Session {
        delivery: Delivery::new(held.filter(|_| holds_newest)),
        turn: None,
        held_turn: None,
        ask: None,
        is_heartbeat_due: true,
        shares: seat.take(),
        seat,
        parts,
        member,
    };
    session.run(inbound, outbound).await
}

async fn subscribed(inbound: &mut Streaming<fleet::WatchRequest>) -> Result<fleet::Subscribe, Status> {
    let first = timeout(SUBSCRIBE_WAIT, inbound.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the first message did not come in time"))??;
    match first.and_then(|request| request.message) {
        Some(Up::Subscribe(subscribe)) => Ok(subscribe),
        Some(
            Up::Ack(_) | Up::Nack(_) | Up::Status(_) | Up::ProbeResult(_) | Up::Resync(_) | Up::Explained(_),
        )
        | None => Err(Status::invalid_argument("the first message must be subscribe")),
    }
}

/// Whether what a node holds is an earlier version of the same history.
fn is_older(held: &fleet::StoreVersion, newest: &fleet::StoreVersion) -> bool {
    (&held.cluster_id, held.epoch) == (&newest.cluster_id, newest.epoch) && held.revision < newest.revision
}

struct Session {
    parts: StreamParts,
    member: Membership,
    delivery: Delivery,
    /// The place in the queue for a full send.
    turn: Option<Turn>,
    held_turn: Option<OwnedSemaphorePermit>,
    ask: Option<Ask>,
    is_heartbeat_due: bool,
    /// What this node may do of the limits of keys, still to be told.
    shares: Option<fleet::KeyShares>,
    seat: Seat,
}

impl Session {
    async fn run(
        mut self,
        mut inbound: Streaming<fleet::WatchRequest>,
        outbound: &Outbound,
    ) -> Result<(), Status> {
        let mut heartbeat = heartbeat();
        let mut stalled_at = Instant::now() + TURN_STALL;
        loop {
            self.offer_newest();
            tokio::select! {
                // The end goes first; then what the node says, because it decides
                // what it gets; sending last.
                biased;
                () = self.parts.shutdown.cancelled() => {
                    return Err(Status::unavailable("the control plane is shutting down"));
                }
                () = self.member.replaced.cancelled() => {
                    return Err(Status::aborted("another stream subscribed with this node_id"));
                }
                () = outbound.closed() => return Ok(()),
                message = inbound.message() => match message.map(|message| message.and_then(|it| it.message)) {
                    Ok(Some(message)) => self.received(message)?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                changed = self.parts.published.changed() => {
                    changed.map_err(|_| Status::unavailable("the control plane is shutting down"))?;
                }
                Some(turn) = OptionFuture::from(self.turn.as_mut()) => {
                    self.turn = None;
                    self.held_turn = turn.ok();
                    stalled_at = Instant::now() + TURN_STALL;
                    let newest = self.parts.published.borrow_and_update().clone();
                    self.delivery.start(newest);
                }
                () = sleep_until(stalled_at), if self.held_turn.is_some() => self.held_turn = None,
                Some(ask) = self.member.asks.recv(), if self.ask.is_none() => self.ask = Some(ask),
                () = self.seat.changed(), if self.shares.is_none() => self.shares = self.seat.take(),
                _ = heartbeat.tick() => self.is_heartbeat_due = true,
                permit = outbound.reserve(), if self.has_message() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    if let Some(message) = self.next_message() {
                        permit.send(Ok(fleet::WatchResponse { message: Some(message) }));
                    }
                    stalled_at = Instant::now() + TURN_STALL;
                }
            }
        }
    }

    fn offer_newest(&mut self) {
        if self.delivery.wants(&self.parts.published.borrow().version) {
            self.delivery.wait();
            self.turn = Some(Box::pin(Arc::clone(&self.parts.turns.0).acquire_owned()));
        }
    }

    fn has_message(&self) -> bool {
        self.delivery.is_sending() || self.ask.is_some() || self.is_heartbeat_due || self.shares.is_some()
    }

    /// A snapshot is not interrupted: heartbeats and questions wait for its end.
    fn next_message(&mut self) -> Option<Down> {
        if let Some(message) = self.delivery.next() {
            if !self.delivery.is_sending() {
                self.held_turn = None;
            }
            return Some(message);
        }
        match self.ask.take() {
            Some(Ask::Probe(probe)) => return Some(Down::Probe(probe)),
            Some(Ask::Explain(explain)) => return Some(Down::Explain(explain)),
            None => {}
        }
        if !self.is_heartbeat_due
            && let Some(shares) = self.shares.take()
        {
            return Some(Down::KeyShares(shares));
        }
        self.is_heartbeat_due = false;
        let newest = self.parts.published.borrow();
        Some(Down::Heartbeat(fleet::Heartbeat {
            version: Some(newest.version.clone()),
            state_hash: newest.state_hash.to_vec(),
            server_time: Some(SystemTime::now().into()),
            live_nodes: self.seat.live_nodes(),
            last_sent: None,
        }))
    }

    fn received(&mut self, message: Up) -> Result<(), Status> {
        match message {
            Up::Subscribe(_) => return Err(Status::invalid_argument("subscribe was already sent")),
            Up::Ack(fleet::Ack { version }) => self.acked(version.unwrap_or_default()),
            Up::Nack(fleet::Nack { version, refusals }) => self.refused(version.as_ref(), &refusals),
            Up::Status(status) => {
                self.member.set_draining(status.draining);
                self.seat.asked(status.key_uses);
            }
            Up::ProbeResult(result) => self.parts.probes.answered(result),
            Up::Resync(fleet::Resync { reason }) => {
                tracing::warn!(node.id = %self.member.id(), reason, "data plane asks for the whole snapshot");
                self.delivery.resync();
            }
            Up::Explained(explained) => self.parts.explains.answered(explained),
        }
        Ok(())
    }

    fn acked(&mut self, version: fleet::StoreVersion) {
        if !self.delivery.acked(&version) {
            tracing::debug!(node.id = %self.member.id(), "acknowledgement of a version that was not asked for");
            return;
        }
        self.parts.metrics.acks.inc();
        self.member.acked(version.revision);
        tracing::info!(node.id = %self.member.id(), snapshot.version = version.revision, "snapshot acknowledged");
    }

    fn refused(&mut self, named: Option<&fleet::StoreVersion>, refusals: &[fleet::Refusal]) {
        let Some(version) = self.delivery.refused() else {
            return;
        };
        self.held_turn = None;
        if named != Some(&version) {
            tracing::warn!(
                node.id = %self.member.id(), snapshot.version = version.revision,
                "the node read another version than was sent"
            );
        }
        self.parts.metrics.nacks.inc();
        self.member.refused(version.revision);
        for refusal in refusals {
            let resource = refusal.resource.as_ref();
            tracing::warn!(
                node.id = %self.member.id(), snapshot.version = version.revision,
                resource.kind = resource.map(|key| key.kind().as_str_name()),
                resource.id = resource.map(|key| key.id.as_str()),
                reason = refusal.reason, "snapshot refused"
            );
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        tracing::info!(node.id = %self.member.id(), "data plane disconnected");
    }
}

fn heartbeat() -> Interval {
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}
