//! `WatchService` on the fleet listener: one stream per data plane.
//!
//! A stream is one task with one loop. It never waits for the node: what it may send
//! next is decided when there is room for it, so that a node which does not read
//! holds up nobody, and costs two snapshots at most.

mod subscribe;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use futures_util::future::OptionFuture;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use self::subscribe::Takes;
use crate::explain::Explains;
use crate::grpc::interceptor;
use crate::probe::Probes;
use crate::roster::{Denied, Roster};
use crate::shares::{Seat, Shares};
use crate::snapshot::delivery::{Delivery, Report};
use crate::snapshot::feed::Feed;
use crate::snapshot::index::Track;
use crate::snapshot::ledger::Target;
use crate::snapshot::nodes::{End, Identity, Membership, Nodes, Refused, short};
use crate::snapshot::point::Point;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::traces::FromNode;

/// The contract's interval.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Snapshots that are sent at the same time.
const FULL_SENDS_MAX: usize = 4;
/// A node that reads nothing for this long no longer holds up the next one.
const TURN_STALL: Duration = Duration::from_millis(250);
/// How long the reason for an end waits for a node that does not read.
const FAREWELL_WAIT: Duration = Duration::from_secs(1);
/// Messages that wait for the connection to take them.
const OUTBOUND_QUEUE: usize = 1;
/// Largest message from a node: an explanation, which holds bodies of 3 MiB.
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
    pub(crate) store: Store,
    pub(crate) feed: Feed,
    pub(crate) roster: Roster,
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
        let identity = interceptor::identity(&request)?;
        let peer = Peer {
            remote: request.remote_addr(),
            identity,
            from_node: FromNode::of(request.extensions()),
        };
        self.tasks.spawn(async move {
            if let Err(status) = serve(parts, peer, request.into_inner(), &outbound).await {
                // A node that does not read it will find out by the end of the stream.
                let _ = outbound.send_timeout(Err(status), FAREWELL_WAIT).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Who has opened a stream.
struct Peer {
    remote: Option<SocketAddr>,
    identity: Identity,
    from_node: FromNode,
}

async fn serve(
    parts: StreamParts,
    Peer {
        remote,
        identity,
        from_node,
    }: Peer,
    mut inbound: Streaming<fleet::WatchRequest>,
    outbound: &Outbound,
) -> Result<(), Status> {
    let mut subscribed = subscribe::first(&mut inbound).await?;
    let id = parts.roster.name(&identity, &subscribed.node_id).await;
    let id = id.map_err(interceptor::denied)?;
    from_node.tell(id.as_str());
    subscribed.node_id = id.to_string();
    let held = subscribe::held(&subscribed, &parts.feed.newest());
    if let Some(held) = &held {
        subscribe::reach_back(&parts.store, &parts.feed, held.revision()).await;
    }
    let facts = subscribe::facts(&subscribed, remote, identity);
    let takes = Takes::of(&facts);
    let seat = parts.shares.join(&subscribed.node_id, &subscribed.boot_id);
    tracing::info!(
        node.id = %id, build = subscribed.build, boot.id = subscribed.boot_id,
        address = subscribed.public_address, held.revision = held.map(|held| held.revision()),
        "data plane connected"
    );
    let session = Session {
        changed: parts.feed.subscribe(),
        member: parts.nodes.join(id, facts, held),
        sending: Sending {
            delivery: Delivery::new(held),
            takes,
            turn: None,
            held_turn: None,
            command: None,
            is_heartbeat_due: true,
            told_live_nodes: 0,
            shares: seat.take(),
        },
        seat,
        parts,
    };
    // What was decided meanwhile has found no stream of this node to end.
    session.parts.roster.end_refused(&session.parts.nodes);
    session.run(inbound, outbound).await
}

struct Session {
    parts: StreamParts,
    changed: watch::Receiver<()>,
    member: Membership,
    seat: Seat,
    sending: Sending,
}

/// What goes down next.
struct Sending {
    delivery: Delivery,
    takes: Takes,
    /// The place in the queue for a full send.
    turn: Option<Turn>,
    held_turn: Option<OwnedSemaphorePermit>,
    command: Option<Down>,
    is_heartbeat_due: bool,
    told_live_nodes: u32,
    /// What this node may do of the limits of keys, still to be told.
    shares: Option<fleet::KeyShares>,
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
            self.offer();
            tokio::select! {
                // The end goes first; then what the node says, because it decides
                // what it gets; sending last.
                biased;
                () = self.parts.shutdown.cancelled() => {
                    return Err(Status::unavailable("the control plane is shutting down"));
                }
                end = self.member.ending.ended() => return Err(farewell(end)),
                () = outbound.closed() => return Ok(()),
                message = inbound.message() => match message.map(|message| message.and_then(|it| it.message)) {
                    Ok(Some(message)) => self.received(message)?,
                    Ok(None) | Err(_) => return Ok(()),
                },
                changed = self.changed.changed() => {
                    changed.map_err(|_| Status::unavailable("the control plane is shutting down"))?;
                }
                Some(turn) = OptionFuture::from(self.sending.turn.as_mut()) => {
                    self.sending.turn = None;
                    self.sending.held_turn = turn.ok();
                    stalled_at = Instant::now() + TURN_STALL;
                    self.start_whole();
                }
                () = sleep_until(stalled_at), if self.sending.held_turn.is_some() => self.sending.held_turn = None,
                Some(command) = self.member.asks.recv(), if self.sending.command.is_none() => {
                    self.sending.command = Some(command);
                }
                () = self.seat.changed(), if self.sending.shares.is_none() => {
                    self.sending.shares = self.seat.take();
                    self.sending.is_heartbeat_due |= self.seat.live_nodes() != self.sending.told_live_nodes;
                }
                _ = heartbeat.tick() => self.sending.is_heartbeat_due = true,
                permit = outbound.reserve(), if self.sending.has_message() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    let message = Some(self.next_message());
                    permit.send(Ok(fleet::WatchResponse { message }));
                    stalled_at = Instant::now() + TURN_STALL;
                }
            }
        }
    }

    fn target(&self) -> (Track, Target) {
        let held = self.sending.delivery.held();
        self.parts.feed.target(self.member.id(), held)
    }

    /// Changes go out at once; the whole waits for its turn.
    fn offer(&mut self) {
        let (track, target) = self.target();
        if self.sending.takes == Takes::Nothing || !self.sending.delivery.wants(&target.point) {
            return;
        }
        let held = self.sending.delivery.held();
        match held
            .filter(|_| self.sending.takes == Takes::Changes)
            .and_then(|held| self.parts.feed.delta(held, track))
        {
            Some((target, delta)) => {
                self.parts.metrics.deltas.inc();
                self.sending.delivery.change(delta, target);
            }
            None => {
                self.sending.delivery.wait();
                self.sending.turn = Some(Box::pin(Arc::clone(&self.parts.turns.0).acquire_owned()));
            }
        }
    }

    fn start_whole(&mut self) {
        let (track, _) = self.target();
        let (target, whole) = self.parts.feed.whole(track);
        self.parts.metrics.snapshots.inc();
        self.sending.delivery.start(whole, target);
    }

    /// A snapshot is not interrupted: heartbeats and commands wait for its end.
    fn next_message(&mut self) -> Down {
        if let Some(message) = self.sending.delivery.next() {
            if !self.sending.delivery.is_sending() {
                self.sending.held_turn = None;
                let sent = self.sending.delivery.last_sent();
                self.member.sent(sent.map_or(0, |sent| sent.revision));
            }
            return message;
        }
        if let Some(command) = self.sending.command.take() {
            return command;
        }
        if !self.sending.is_heartbeat_due
            && let Some(shares) = self.sending.shares.take()
        {
            return Down::KeyShares(shares);
        }
        self.sending.is_heartbeat_due = false;
        let heartbeat = self.heartbeat();
        self.sending.told_live_nodes = heartbeat.live_nodes;
        Down::Heartbeat(heartbeat)
    }

    fn heartbeat(&self) -> fleet::Heartbeat {
        let (_, Target { point, .. }) = self.target();
        let delivery = &self.sending.delivery;
        // Under the same number there may be two sets of resources.
        let is_told_apart = delivery
            .held()
            .is_none_or(|held| held.store != point.store || held.hash == point.hash);
        let is_told = is_told_apart && self.sending.takes != Takes::Nothing;
        fleet::Heartbeat {
            version: is_told.then(|| point.version()),
            state_hash: point.hash.to_vec(),
            server_time: Some(SystemTime::now().into()),
            live_nodes: self.seat.live_nodes(),
            last_sent: delivery.last_sent().cloned(),
        }
    }

    fn received(&mut self, message: Up) -> Result<(), Status> {
        match message {
            Up::Subscribe(_) => return Err(Status::invalid_argument("subscribe was already sent")),
            Up::Ack(fleet::Ack { version }) => {
                match self.sending.delivery.acked(&version.unwrap_or_default()) {
                    Some(target) => self.acked(target),
                    None => tracing::debug!(
                        node.id = %self.member.id(), "acknowledgement of a version that was not asked for"
                    ),
                }
            }
            Up::Nack(fleet::Nack { version, refusals }) => self.refused(version.as_ref(), &refusals),
            Up::Status(status) => self.reported(status),
            Up::ProbeResult(result) => self.parts.probes.answered(result),
            Up::Resync(fleet::Resync { reason }) => {
                tracing::warn!(node.id = %self.member.id(), reason = short(reason), "data plane asks for the whole snapshot");
                self.resync();
            }
            Up::Explained(explained) => self.parts.explains.answered(explained),
        }
        Ok(())
    }

    fn resync(&mut self) {
        self.parts.metrics.resyncs.inc();
        self.sending.delivery.resync();
    }

    fn reported(&mut self, mut status: fleet::NodeStatus) {
        self.seat.asked(std::mem::take(&mut status.key_uses));
        if let Some(point) = Point::from_proto(status.held.as_ref(), &status.state_hash) {
            match self.sending.delivery.reported(&point) {
                Report::Known => {}
                Report::Acked(target) => self.acked(target),
                Report::Diverged => {
                    tracing::warn!(
                        node.id = %self.member.id(), held.revision = point.revision(),
                        "data plane holds something else than it acknowledged"
                    );
                    self.resync();
                }
            }
        }
        self.member.reported(status);
    }

    fn acked(&mut self, target: Target) {
        self.parts.metrics.acks.inc();
        self.member.acked(target);
        tracing::info!(
            node.id = %self.member.id(), snapshot.version = target.point.revision(), "snapshot acknowledged"
        );
    }

    fn refused(&mut self, named: Option<&fleet::StoreVersion>, refusals: &[fleet::Refusal]) {
        let Some(point) = self.sending.delivery.refused() else {
            return;
        };
        self.sending.held_turn = None;
        let revision = point.revision();
        if named != Some(&point.version()) {
            tracing::warn!(
                node.id = %self.member.id(), snapshot.version = revision,
                "the node read another version than was sent"
            );
        }
        self.parts.metrics.nacks.inc();
        let refusals = Refused::of(refusals);
        for Refused { resource, reason } in &refusals {
            tracing::warn!(
                node.id = %self.member.id(), snapshot.version = revision, resource, reason, "snapshot refused"
            );
        }
        self.member.refused(point, refusals);
    }
}

impl Sending {
    fn has_message(&self) -> bool {
        self.delivery.is_sending() || self.command.is_some() || self.is_heartbeat_due || self.shares.is_some()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        tracing::info!(node.id = %self.member.id(), "data plane disconnected");
    }
}

fn farewell(end: End) -> Status {
    match end {
        End::Replaced => Status::aborted("another stream subscribed with this node_id"),
        End::Refused(refusal) => interceptor::denied(refusal.into()),
        End::Expired => interceptor::denied(Denied::Expired),
    }
}

fn heartbeat() -> Interval {
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}
