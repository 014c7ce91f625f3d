//! A data plane that serves nobody: it follows the control plane as one does, checks every hash and
//! every step, and remembers what it saw. Many of them cost less than one that serves.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bridge_proto::fleet::v1::resource::Kind;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use bridge_proto::fleet::v1::watch_service_client::WatchServiceClient;
use bridge_proto::fleet::v1::{
    Ack, Capability, Delta, Nack, Refusal, Resource, ResourceKind, StoreVersion, Subscribe, WatchRequest,
    WatchResponse,
};
use prost::Message;
use rand::RngExt;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::{Request, Streaming};

use crate::admin::{Bearer, connect};
use crate::wait;

const SCHEMA: u32 = 1;
const QUEUE: usize = 64;
/// What it says when it refuses.
pub const REFUSAL: &str = "this build cannot use it";
/// For snapshots of many keys that an unoptimised build checks many times.
const PATIENCE: Duration = Duration::from_secs(300);
/// Sooner than a node that serves would, so that nobody waits for it: each time a random part.
const BACK_OFF: Duration = Duration::from_millis(200);

type Hash = [u8; 32];
type Name = (i32, String);

/// What it holds.
#[derive(Clone, Default)]
struct Held {
    version: StoreVersion,
    resources: HashMap<Name, Hash>,
    hash: Hash,
}

/// What it saw.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Epoch and revision.
    pub version: (u64, u64),
    pub hash: Hash,
    pub snapshots: usize,
    pub deltas: usize,
    pub delta_bytes: usize,
    pub largest_message: usize,
    /// What must never happen, in words.
    pub faults: Vec<String>,
}

/// How many of several watchers receive a snapshot at the same time, and how many did at most.
#[derive(Debug, Default)]
pub struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

pub struct Watcher {
    follower: Follower,
    following: JoinHandle<()>,
}

/// Clones are one data plane, of which one at a time should follow.
#[derive(Clone)]
struct Follower {
    name: String,
    address: String,
    bearer: Bearer,
    held: Arc<Mutex<Option<Held>>>,
    seen: Arc<Mutex<Seen>>,
    refuses: Arc<AtomicBool>,
    gauge: Arc<Gauge>,
}

// === impl Watcher ===

impl Watcher {
    /// Follows the control plane at this address until it is dropped, over any number of connections.
    pub fn start(name: String, address: String, token: &str, gauge: &Arc<Gauge>) -> Result<Self> {
        let follower = Follower {
            name,
            address,
            bearer: Bearer::parse(token)?,
            held: Arc::default(),
            seen: Arc::default(),
            refuses: Arc::default(),
            gauge: Arc::clone(gauge),
        };
        let following = tokio::spawn(follower.clone().follow());
        Ok(Self { follower, following })
    }

    pub fn name(&self) -> &str {
        &self.follower.name
    }

    /// Whether it refuses from here on whatever comes.
    pub fn set_refusing(&self, is_refusing: bool) {
        self.follower.refuses.store(is_refusing, Ordering::SeqCst);
    }

    pub fn seen(&self) -> Seen {
        lock(&self.follower.seen).clone()
    }

    /// Follows no longer, and keeps what it holds.
    pub fn leave(&self) {
        self.following.abort();
    }

    /// Follows again, from what it holds.
    pub fn come_back(&mut self) {
        self.following.abort();
        self.following = tokio::spawn(self.follower.clone().follow());
    }

    /// Waits until it holds this revision, or a later one.
    pub async fn wait_for(&self, revision: u64) -> Result<()> {
        let what = format!("{} to hold revision {revision}", self.follower.name);
        wait::until_within(PATIENCE, &what, || async {
            (lock(&self.follower.seen).version.1 >= revision).then_some(())
        })
        .await
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.following.abort();
    }
}

// === impl Gauge ===

impl Gauge {
    fn enter(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }

    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

// === impl Follower ===

impl Follower {
    async fn follow(self) {
        loop {
            match self.follow_one().await {
                // The control plane is away, or has ended the stream.
                Ok(()) => {}
                Err(fault) => lock(&self.seen).faults.push(format!("{fault:#}")),
            }
            let pause = BACK_OFF.mul_f64(rand::rng().random());
            tokio::time::sleep(pause).await;
        }
    }

    /// One stream; an error is a broken promise.
    async fn follow_one(&self) -> Result<()> {
        let Ok(channel) = connect(&self.address).await else {
            return Ok(());
        };
        let (up, mut requests) = mpsc::channel(QUEUE);
        up.send(self.subscribe()).await.ok();
        let requests = futures_util::stream::poll_fn(move |context| requests.poll_recv(context));
        let mut client = WatchServiceClient::with_interceptor(channel, self.bearer.clone())
            .max_decoding_message_size(usize::MAX);
        let Ok(stream) = client.watch(Request::new(requests)).await else {
            return Ok(());
        };
        self.read(stream.into_inner(), up).await
    }

    async fn read(&self, mut stream: Streaming<WatchResponse>, up: mpsc::Sender<WatchRequest>) -> Result<()> {
        let mut coming: Option<Coming> = None;
        while let Ok(Some(response)) = stream.message().await {
            let size = response.encoded_len();
            {
                let mut seen = lock(&self.seen);
                seen.largest_message = seen.largest_message.max(size);
            }
            let held = match response.message.context("an empty message")? {
                Down::SnapshotBegin(begin) => {
                    let version = begin.version.context("a snapshot without a version")?;
                    coming = Some(Coming::new(version, begin.resource_count, &self.gauge));
                    continue;
                }
                Down::SnapshotChunk(chunk) => {
                    let coming = coming.as_mut().context("a chunk of no snapshot")?;
                    chunk
                        .resources
                        .iter()
                        .try_for_each(|resource| coming.held.put(resource))?;
                    continue;
                }
                Down::SnapshotEnd(end) => {
                    let coming = coming.take().context("the end of no snapshot")?;
                    lock(&self.seen).snapshots += 1;
                    let held = coming.finish();
                    ensure!(held.hash[..] == end.state_hash, "a snapshot with another hash");
                    held
                }
                Down::Delta(delta) => {
                    let mut seen = lock(&self.seen);
                    seen.deltas += 1;
                    seen.delta_bytes += size;
                    drop(seen);
                    let held = if self.is_refusing() {
                        lock(&self.held).clone()
                    } else {
                        lock(&self.held).take()
                    };
                    held.context("a delta to who holds nothing")?.after(delta)?
                }
                _ => continue,
            };
            let answer = self.answer(held)?;
            up.send(WatchRequest {
                message: Some(answer),
            })
            .await
            .ok();
        }
        Ok(())
    }

    fn is_refusing(&self) -> bool {
        self.refuses.load(Ordering::SeqCst)
    }

    fn answer(&self, held: Held) -> Result<Up> {
        let version = Some(held.version.clone());
        // What was taken out of its place has to go back there.
        if self.is_refusing() && lock(&self.held).is_some() {
            let refusal = Refusal {
                resource: None,
                reason: REFUSAL.to_owned(),
            };
            return Ok(Up::Nack(Nack {
                version,
                refusals: vec![refusal],
            }));
        }
        self.take(held)?;
        Ok(Up::Ack(Ack { version }))
    }

    fn take(&self, held: Held) -> Result<()> {
        let version = (held.version.epoch, held.version.revision);
        let mut seen = lock(&self.seen);
        let before = std::mem::replace(&mut seen.version, version);
        seen.hash = held.hash;
        drop(seen);
        *lock(&self.held) = Some(held);
        if version < before {
            bail!("went back from {before:?} to {version:?}");
        }
        Ok(())
    }

    fn subscribe(&self) -> WatchRequest {
        let held = lock(&self.held);
        let subscribe = Subscribe {
            node_id: self.name.clone(),
            boot_id: self.name.clone(),
            build: "watcher".to_owned(),
            schema_max: SCHEMA,
            capabilities: vec![
                Capability::Delta.into(),
                Capability::TerminateStreams.into(),
                Capability::AnthropicProviders.into(),
                Capability::KeyLimits.into(),
            ],
            held: held.as_ref().map(|held| held.version.clone()),
            held_state_hash: held.as_ref().map(|held| held.hash.to_vec()).unwrap_or_default(),
            public_address: String::new(),
        };
        WatchRequest {
            message: Some(Up::Subscribe(subscribe)),
        }
    }
}

/// A snapshot that is under way; it counts as long as it is.
struct Coming {
    held: Held,
    gauge: Arc<Gauge>,
}

impl Coming {
    fn new(version: StoreVersion, resources: u64, gauge: &Arc<Gauge>) -> Self {
        gauge.enter();
        let capacity = usize::try_from(resources).unwrap_or_default();
        Self {
            held: Held {
                version,
                resources: HashMap::with_capacity(capacity),
                hash: Hash::default(),
            },
            gauge: Arc::clone(gauge),
        }
    }

    fn finish(mut self) -> Held {
        std::mem::take(&mut self.held)
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.gauge.leave();
    }
}

// === impl Held ===

impl Held {
    fn put(&mut self, encoded: &[u8]) -> Result<()> {
        let resource = Resource::decode(encoded)?;
        let hash = Sha256::digest(encoded).into();
        let before = self.resources.insert(name_of(&resource)?, hash);
        self.mix(before.unwrap_or_default());
        self.mix(hash);
        Ok(())
    }

    fn mix(&mut self, hash: Hash) {
        self.hash
            .iter_mut()
            .zip(hash)
            .for_each(|(sum, byte)| *sum ^= byte);
    }

    fn after(mut self, delta: Delta) -> Result<Self> {
        let from = delta.from.context("a delta from nowhere")?;
        ensure!(
            from == self.version,
            "a delta from {from:?} to who holds {:?}",
            self.version
        );
        for key in delta.removed {
            let gone = self.resources.remove(&(key.kind, key.id));
            self.mix(gone.unwrap_or_default());
        }
        delta.upserts.iter().try_for_each(|resource| self.put(resource))?;
        ensure!(
            self.hash[..] == delta.state_hash,
            "a delta that leads to another hash"
        );
        self.version = delta.to.context("a delta to nowhere")?;
        Ok(self)
    }
}

fn name_of(resource: &Resource) -> Result<Name> {
    let (kind, id) = match resource.kind.as_ref().context("a resource of no kind")? {
        Kind::Provider(provider) => (ResourceKind::Provider, provider.name.clone()),
        Kind::ApiKey(key) => (ResourceKind::ApiKey, key.id.clone()),
        Kind::ModelRule(rule) => (ResourceKind::ModelRule, rule.id.clone()),
        Kind::Settings(_) => (ResourceKind::Settings, String::new()),
        Kind::BreakerOverride(held) => (ResourceKind::BreakerOverride, held.id.clone()),
    };
    Ok((kind.into(), id))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
