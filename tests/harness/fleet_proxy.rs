//! Stands between a node and the control plane, passes everything on, and tampers when told to.
//!
//! What goes wrong on the wire can be shown with real snapshots this way: the harness needs to
//! know nothing of what is in them.

use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use bridge_proto::fleet::v1::watch_service_client::WatchServiceClient;
use bridge_proto::fleet::v1::watch_service_server::{WatchService, WatchServiceServer};
use bridge_proto::fleet::v1::{Capability, Nack, StoreVersion, WatchRequest, WatchResponse};
use futures_util::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::admin::connect;
use crate::wait;

/// How nodes behind it are brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diet {
    /// The control plane is not told that they take changes.
    Snapshots,
    Changes,
}

/// What is done to each snapshot or change on its way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tamper {
    Nothing,
    /// The announced hash is that of something else.
    WrongHash,
    /// One resource is lost.
    LostResource,
    /// The same of a change only: the snapshot after it is whole.
    WrongHashOfChange,
    LostResourceOfChange,
    /// A change is lost as a whole.
    LostChange,
    /// A change comes twice.
    TwiceChanged,
    /// It says that it is older than everything.
    OldVersion,
    /// It says that it comes from another installation.
    ForeignCluster,
}

pub struct FleetProxy {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

struct State {
    control_plane: String,
    diet: Diet,
    tamper: Mutex<Tamper>,
    seen: Mutex<Vec<Up>>,
}

struct Service(Arc<State>);

// === impl FleetProxy ===

impl FleetProxy {
    pub async fn start(control_plane: &str, diet: Diet) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            control_plane: control_plane.to_owned(),
            diet,
            tamper: Mutex::new(Tamper::Nothing),
            seen: Mutex::default(),
        });
        let service = WatchServiceServer::new(Service(Arc::clone(&state)));
        let server = Server::builder().add_service(service);
        let serving = tokio::spawn(async move {
            // It ends when the proxy is dropped; until then a failure shows as a node that never becomes ready.
            server.serve_with_incoming(TcpIncoming::from(listener)).await.ok();
        });
        Ok(Self {
            address,
            state,
            serving,
        })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From the next snapshot on.
    pub fn tamper(&self, tamper: Tamper) {
        *lock(&self.state.tamper) = tamper;
    }

    /// Forgets what the node has said so far.
    pub fn forget(&self) {
        lock(&self.state.seen).clear();
    }

    /// The first refusal that the node has sent since `forget`.
    pub async fn wait_for_nack(&self) -> Result<Nack> {
        wait::until("the node to refuse a snapshot", || async {
            let seen = lock(&self.state.seen);
            let mut nacks = seen.iter().filter_map(|message| match message {
                Up::Nack(nack) => Some(nack.clone()),
                _ => None,
            });
            nacks.next()
        })
        .await
    }
}

impl Drop for FleetProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

// === impl Service ===

#[tonic::async_trait]
impl WatchService for Service {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let channel = connect(&self.0.control_plane).await;
        let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
        let (metadata, _, up) = request.into_parts();

        let state = Arc::clone(&self.0);
        let up = up.take_while(|message| ready(message.is_ok()));
        let up = up.filter_map(move |message| {
            let mut message = message.ok();
            if state.diet == Diet::Snapshots
                && let Some(Up::Subscribe(subscribe)) =
                    message.as_mut().and_then(|message| message.message.as_mut())
            {
                let delta = i32::from(Capability::Delta);
                subscribe.capabilities.retain(|capability| *capability != delta);
            }
            if let Some(message) = message.as_ref().and_then(|message| message.message.as_ref()) {
                lock(&state.seen).push(message.clone());
            }
            ready(message)
        });
        let mut request = Request::new(up);
        if let Some(token) = metadata.get("authorization") {
            request.metadata_mut().insert("authorization", token.clone());
        }
        let down = WatchServiceClient::new(channel)
            .watch(request)
            .await?
            .into_inner();

        let state = Arc::clone(&self.0);
        let down = down.flat_map(move |message| {
            let tamper = *lock(&state.tamper);
            let messages = match message {
                Ok(mut message) => {
                    apply(tamper, &mut message);
                    let times = times(tamper, &message);
                    vec![Ok(message); times]
                }
                Err(status) => vec![Err(status)],
            };
            futures_util::stream::iter(messages)
        });
        Ok(Response::new(Box::pin(down)))
    }
}

fn apply(tamper: Tamper, response: &mut WatchResponse) {
    let Some(message) = &mut response.message else {
        return;
    };
    match (tamper, message) {
        (Tamper::WrongHash, Down::SnapshotEnd(end)) => end.state_hash = vec![7; 32],
        (Tamper::LostResource, Down::SnapshotChunk(chunk)) => drop(chunk.resources.pop()),
        (Tamper::WrongHashOfChange, Down::Delta(delta)) => delta.state_hash = vec![7; 32],
        (Tamper::LostResourceOfChange, Down::Delta(delta)) => drop(delta.upserts.pop()),
        (Tamper::OldVersion, Down::SnapshotBegin(begin)) => age(begin.version.as_mut()),
        (Tamper::OldVersion, Down::SnapshotEnd(end)) => age(end.version.as_mut()),
        (Tamper::ForeignCluster, Down::SnapshotBegin(begin)) => move_away(begin.version.as_mut()),
        (Tamper::ForeignCluster, Down::SnapshotEnd(end)) => move_away(end.version.as_mut()),
        _ => {}
    }
}

/// How often a message arrives.
fn times(tamper: Tamper, response: &WatchResponse) -> usize {
    match (tamper, &response.message) {
        (Tamper::LostChange, Some(Down::Delta(_))) => 0,
        (Tamper::TwiceChanged, Some(Down::Delta(_))) => 2,
        _ => 1,
    }
}

fn age(version: Option<&mut StoreVersion>) {
    if let Some(version) = version {
        version.revision = 0;
    }
}

fn move_away(version: Option<&mut StoreVersion>) {
    if let Some(version) = version {
        version.cluster_id = vec![9; 16];
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
