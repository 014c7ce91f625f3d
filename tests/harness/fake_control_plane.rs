//! A control plane of the test's own: it sends whatever it is told to, at any size, can be
//! gone and come back, and remembers what the nodes said.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use bridge_proto::fleet::v1::resource::Kind;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use bridge_proto::fleet::v1::watch_service_server::{WatchService, WatchServiceServer};
use bridge_proto::fleet::v1::{
    ApiFormat, ApiKey, Heartbeat, KeyHashAlgorithm, Nack, Provider, Resource, Settings, SnapshotBegin,
    SnapshotChunk, SnapshotEnd, StoreVersion, TierModels, WatchRequest, WatchResponse,
};
use bytes::Bytes;
use futures_util::Stream;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{broadcast, mpsc};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::ports::free_port;
use crate::wait;

/// Faster than a real one, so that nobody waits for it.
const HEARTBEAT: Duration = Duration::from_millis(200);
const RESOURCES_PER_CHUNK: usize = 500;
const QUEUE: usize = 2_000;

/// A configuration as it goes over the wire. What `new` makes is sound; whatever is changed
/// afterwards is the test's affair.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub version: StoreVersion,
    pub resources: Vec<Bytes>,
    pub announced: u64,
    pub state_hash: Vec<u8>,
}

pub struct FakeControlPlane {
    port: u16,
    state: Arc<State>,
    /// Everything of it runs there, so that it can be gone at once.
    runtime: Option<Runtime>,
}

struct State {
    current: Mutex<Snapshot>,
    messages: broadcast::Sender<Vec<Down>>,
    seen: Mutex<Vec<Up>>,
}

struct Service(Arc<State>);

// === impl Snapshot ===

impl Snapshot {
    #[must_use]
    pub fn new(revision: u64, resources: Vec<Bytes>) -> Self {
        Self {
            version: StoreVersion {
                cluster_id: vec![7; 16],
                epoch: 1,
                revision,
            },
            announced: resources.len() as u64,
            state_hash: state_hash(&resources),
            resources,
        }
    }

    /// Counts and hash are made to fit again, so that what is wrong is in the resources.
    #[must_use]
    pub fn consistent(self) -> Self {
        Self {
            announced: self.resources.len() as u64,
            state_hash: state_hash(&self.resources),
            ..self
        }
    }

    #[must_use]
    pub fn messages(&self) -> Vec<Down> {
        let begin = Down::SnapshotBegin(SnapshotBegin {
            version: Some(self.version.clone()),
            resource_count: self.announced,
            allow_empty: false,
        });
        let chunks = self.resources.chunks(RESOURCES_PER_CHUNK).map(|resources| {
            Down::SnapshotChunk(SnapshotChunk {
                resources: resources.to_vec(),
            })
        });
        let end = Down::SnapshotEnd(SnapshotEnd {
            version: Some(self.version.clone()),
            state_hash: self.state_hash.clone(),
        });
        [begin].into_iter().chain(chunks).chain([end]).collect()
    }
}

fn state_hash(resources: &[Bytes]) -> Vec<u8> {
    let mut sum = vec![0; 32];
    for resource in resources {
        let hash = Sha256::digest(resource);
        sum.iter_mut().zip(hash).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

// === resources ===

#[must_use]
pub fn encode(kind: Kind) -> Bytes {
    Resource { kind: Some(kind) }.encode_to_vec().into()
}

/// Settings as a control plane sends them at first, but for the limit of age.
#[must_use]
pub fn settings(stale_limit: Option<Duration>) -> Settings {
    Settings {
        min_tokens_limit: 100,
        max_tokens_limit: 1_000_000,
        stale_limit: stale_limit.and_then(|limit| limit.try_into().ok()),
        ..Settings::default()
    }
}

/// An OpenAI-compatible provider that offers one model in every tier.
#[must_use]
pub fn provider(base_url: &str, model: &str) -> Provider {
    let models = vec![model.to_owned()];
    Provider {
        name: "scripted".to_owned(),
        api_format: ApiFormat::Openai.into(),
        base_url: base_url.to_owned(),
        api_key: "sk-upstream-canary-5e1f".to_owned(),
        models: Some(TierModels {
            big: models.clone(),
            middle: models.clone(),
            small: models,
        }),
        ..Provider::default()
    }
}

/// The whole key with this number, and what a data plane is told of it.
#[must_use]
pub fn api_key(number: u32) -> (String, ApiKey) {
    let id = format!("{number:012}");
    let secret = format!("{number:043}");
    let key = with_checksum(&format!("sk-bridge-{id}-{secret}"));
    let hash = Sha256::digest(format!("bridge-key-v1{id}{secret}"));
    let record = ApiKey {
        id,
        hash_algorithm: KeyHashAlgorithm::Sha256V1.into(),
        hash: hash.to_vec(),
        ..ApiKey::default()
    };
    (key, record)
}

/// A key of this prefix, id and secret, good or not.
#[must_use]
pub fn with_checksum(body: &str) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32fast::hash(body.as_bytes()) as usize;
    let mut checksum = [b'0'; 6];
    for digit in checksum.iter_mut().rev() {
        *digit = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    format!("{body}{}", String::from_utf8_lossy(&checksum))
}

/// So many keys, one provider and settings.
#[must_use]
pub fn resources(keys: u32, base_url: &str, model: &str, stale_limit: Option<Duration>) -> Vec<Bytes> {
    let keys = (0..keys).map(|number| encode(Kind::ApiKey(api_key(number).1)));
    let others = [
        encode(Kind::Provider(provider(base_url, model))),
        encode(Kind::Settings(settings(stale_limit))),
    ];
    keys.chain(others).collect()
}

// === impl FakeControlPlane ===

impl FakeControlPlane {
    /// One that is not there yet.
    pub fn new(current: Snapshot) -> Result<Self> {
        let (messages, _) = broadcast::channel(QUEUE);
        Ok(Self {
            port: free_port()?,
            state: Arc::new(State {
                current: Mutex::new(current),
                messages,
                seen: Mutex::default(),
            }),
            runtime: None,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Listens on its port, again if it was gone.
    pub fn start(&mut self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)))
            .context("the control plane of the test cannot listen")?;
        listener.set_nonblocking(true)?;
        let service = WatchServiceServer::new(Service(Arc::clone(&self.state)));
        runtime.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            let server = Server::builder().add_service(service);
            // Whatever ends it shows as nodes that hear nothing.
            server.serve_with_incoming(TcpIncoming::from(listener)).await.ok();
        });
        self.runtime = Some(runtime);
        Ok(())
    }

    /// Gone, with every connection.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Sends a new configuration to every node, and to those that come later.
    pub fn publish(&self, snapshot: Snapshot) {
        let messages = snapshot.messages();
        *lock(&self.state.current) = snapshot;
        self.say(messages);
    }

    /// Sends messages as they are to every node that is connected.
    pub fn say(&self, messages: Vec<Down>) {
        // Without a node there is nobody to hear it.
        self.state.messages.send(messages).ok();
    }

    pub fn seen(&self) -> Vec<Up> {
        lock(&self.state.seen).clone()
    }

    pub fn nacks(&self) -> Vec<Nack> {
        let nack = |message: &Up| match message {
            Up::Nack(nack) => Some(nack.clone()),
            _ => None,
        };
        lock(&self.state.seen).iter().filter_map(nack).collect()
    }

    pub fn forget(&self) {
        lock(&self.state.seen).clear();
    }

    /// Waits until a node has acknowledged what was published last.
    pub async fn wait_for_ack(&self) -> Result<()> {
        let version = Some(lock(&self.state.current).version.clone());
        wait::until("a node to acknowledge", || async {
            let seen = lock(&self.state.seen);
            let mut acks = seen.iter();
            acks.any(|message| matches!(message, Up::Ack(ack) if ack.version == version))
                .then_some(())
        })
        .await
    }
}

impl Drop for FakeControlPlane {
    fn drop(&mut self) {
        self.stop();
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
        let (down, mut responses) = mpsc::channel(QUEUE);
        tokio::spawn(serve(Arc::clone(&self.0), request.into_inner(), down));
        let responses = futures_util::stream::poll_fn(move |context| responses.poll_recv(context));
        Ok(Response::new(Box::pin(responses)))
    }
}

/// One stream, to its end.
async fn serve(
    state: Arc<State>,
    mut up: Streaming<WatchRequest>,
    down: mpsc::Sender<Result<WatchResponse, Status>>,
) -> Option<()> {
    let mut messages = state.messages.subscribe();
    let Up::Subscribe(subscribe) = up.message().await.ok()??.message? else {
        return None;
    };
    let current = lock(&state.current).clone();
    let holds_it = subscribe.held.as_ref() == Some(&current.version);
    lock(&state.seen).push(Up::Subscribe(subscribe));
    let mut waiting = if holds_it { Vec::new() } else { current.messages() };
    let mut heartbeats = tokio::time::interval(HEARTBEAT);
    loop {
        for message in waiting.drain(..) {
            let message = Some(message);
            down.send(Ok(WatchResponse { message })).await.ok()?;
        }
        tokio::select! {
            request = up.message() => lock(&state.seen).push(request.ok()??.message?),
            messages = messages.recv() => waiting = messages.ok()?,
            _ = heartbeats.tick() => {
                let current = lock(&state.current);
                waiting.push(Down::Heartbeat(Heartbeat {
                    version: Some(current.version.clone()),
                    state_hash: current.state_hash.clone(),
                    server_time: Some(SystemTime::now().into()),
                    live_nodes: 1,
                    last_sent: None,
                }));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
