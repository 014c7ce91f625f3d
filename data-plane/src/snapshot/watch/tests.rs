//! Against a control plane of the test's own, over a real socket.

use std::net::SocketAddr;

use bridge_proto::fleet::v1::{
    self as proto,
    watch_response::Message as Down,
    watch_service_server::{WatchService, WatchServiceServer},
};
use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::{
    config::{SnapshotCache, TokenSource, Trust},
    node,
    snapshot::decode::tests as fixture,
};

const DEADLINE: Duration = Duration::from_secs(10);
const TOKEN: &str = "node-token";

/// One connected node, from the control plane's side.
struct Peer {
    up: Streaming<proto::WatchRequest>,
    down: mpsc::Sender<Result<proto::WatchResponse, Status>>,
}

struct Fleetd(mpsc::Sender<Peer>);

#[tonic::async_trait]
impl WatchService for Fleetd {
    type WatchStream = ReceiverStream<Result<proto::WatchResponse, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<proto::WatchRequest>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let token = request
            .metadata()
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        assert_eq!(token, Some("Bearer node-token"));
        let (down, messages) = mpsc::channel(64);
        let peer = Peer {
            up: request.into_inner(),
            down,
        };
        self.0
            .send(peer)
            .await
            .map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

impl Peer {
    async fn next(&mut self) -> Up {
        loop {
            let message = timeout(DEADLINE, self.up.message())
                .await
                .unwrap()
                .unwrap()
                .unwrap()
                .message
                .unwrap();
            if !matches!(message, Up::Status(_)) {
                return message;
            }
        }
    }

    async fn send(&self, message: Down) {
        self.down
            .send(Ok(proto::WatchResponse {
                message: Some(message),
            }))
            .await
            .unwrap();
    }

    async fn send_snapshot(&self, version: &proto::StoreVersion, resources: Vec<Bytes>) {
        let mut state_hash = vec![0_u8; 32];
        for resource in &resources {
            state_hash
                .iter_mut()
                .zip(Sha256::digest(resource))
                .for_each(|(sum, byte)| *sum ^= byte);
        }
        self.send(Down::SnapshotBegin(proto::SnapshotBegin {
            version: Some(version.clone()),
            resource_count: resources.len() as u64,
            allow_empty: false,
        }))
        .await;
        for chunk in resources.chunks(2) {
            self.send(Down::SnapshotChunk(proto::SnapshotChunk {
                resources: chunk.to_vec(),
            }))
            .await;
        }
        let end = proto::SnapshotEnd {
            version: Some(version.clone()),
            state_hash,
        };
        self.send(Down::SnapshotEnd(end)).await;
    }
}

struct Stage {
    node: Arc<Node>,
    peers: mpsc::Receiver<Peer>,
    shutdown: CancellationToken,
    watcher: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Stage {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let (peers_in, peers) = mpsc::channel(4);
        let service = WatchServiceServer::new(Fleetd(peers_in));
        let incoming = TcpListenerStream::new(listener);
        let shutdown = CancellationToken::new();
        let tasks = tokio_util::task::TaskTracker::new();
        let over = shutdown.clone();
        tasks.spawn(async move {
            let server = tonic::transport::Server::builder().add_service(service);
            server
                .serve_with_incoming_shutdown(incoming, over.cancelled_owned())
                .await
                .unwrap();
        });
        let node = node::tests::node();
        let fleet = Fleet {
            urls: vec![url],
            trust: Trust::Nobody,
            token: TokenSource::Given(TOKEN.to_owned().into()),
            enrolment: None,
            node_id: "node-1".into(),
            public: ([127, 0, 0, 1], 8000).into(),
            accept_new_cluster: false,
        };
        let watcher = Watcher {
            boot_id: "boot".into(),
            link: watch::Sender::new(None),
            fleet,
            node: Arc::clone(&node),
            shutdown: shutdown.clone(),
            cache: Cache::new(
                SnapshotCache {
                    folder: None,
                    bootstrap: None,
                },
                TokenSource::Given(TOKEN.to_owned().into()),
            ),
            restored: Restored::Done,
            inbox: Arc::default(),
            over: CancellationToken::new(),
        };
        let watcher = Mutex::new(Some(tasks.spawn(watcher.run())));
        Self {
            node,
            peers,
            shutdown,
            watcher,
        }
    }

    async fn peer(&mut self) -> (Peer, proto::Subscribe) {
        let mut peer = timeout(DEADLINE, self.peers.recv()).await.unwrap().unwrap();
        let Up::Subscribe(subscribe) = peer.next().await else {
            panic!("the first message subscribes")
        };
        (peer, subscribe)
    }

    fn revision(&self) -> Option<u64> {
        self.node.live.held().map(|held| held.version.revision)
    }
}

fn version(revision: u64) -> proto::StoreVersion {
    proto::StoreVersion {
        cluster_id: vec![7; 16],
        epoch: 1,
        revision,
    }
}

#[tokio::test]
async fn a_snapshot_is_in_force_before_it_is_acknowledged() {
    let mut stage = Stage::start().await;
    let (mut peer, subscribe) = stage.peer().await;
    assert_eq!((subscribe.node_id.as_str(), subscribe.held), ("node-1", None));
    peer.send_snapshot(&version(3), fixture::resources()).await;
    let Up::Ack(ack) = peer.next().await else {
        panic!("it is sound")
    };
    assert_eq!(ack.version, Some(version(3)));
    assert_eq!(stage.revision(), Some(3));
    stage.shutdown.cancel();
    let watcher = stage.watcher.lock().await.take().unwrap();
    timeout(DEADLINE, watcher).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_refused_leaves_the_old_one_in_force_and_says_why() {
    let mut stage = Stage::start().await;
    let (mut peer, _) = stage.peer().await;
    peer.send_snapshot(&version(3), fixture::resources()).await;
    assert!(matches!(peer.next().await, Up::Ack(_)));
    let mut broken = fixture::resources();
    let bad = proto::Provider {
        name: "bad".into(),
        base_url: "nowhere".into(),
        ..Default::default()
    };
    let kind = proto::resource::Kind::Provider(bad);
    broken.push(proto::Resource { kind: Some(kind) }.encode_to_vec().into());
    peer.send_snapshot(&version(4), broken).await;
    let Up::Nack(nack) = peer.next().await else {
        panic!("it is broken")
    };
    assert_eq!(nack.version, Some(version(4)));
    assert_eq!(nack.refusals[0].resource.as_ref().unwrap().id, "bad");
    assert_eq!(stage.revision(), Some(3));
    peer.send_snapshot(&version(2), fixture::resources()).await;
    assert!(
        matches!(peer.next().await, Up::Nack(_)),
        "time does not run backwards"
    );
    stage.shutdown.cancel();
}

#[tokio::test]
async fn a_broken_stream_is_opened_again_and_tells_what_is_held() {
    let mut stage = Stage::start().await;
    let (mut peer, first) = stage.peer().await;
    peer.send_snapshot(&version(3), fixture::resources()).await;
    assert!(matches!(peer.next().await, Up::Ack(_)));
    drop(peer);
    let (_peer, again) = stage.peer().await;
    assert_eq!(again.held, Some(version(3)));
    assert_eq!(again.held_state_hash.len(), 32);
    assert_eq!(again.boot_id, first.boot_id);
    assert_eq!(stage.revision(), Some(3), "it serves on with what it has");
    stage.shutdown.cancel();
}

fn key(id: &str) -> Bytes {
    let key = proto::ApiKey {
        id: id.into(),
        hash_algorithm: proto::KeyHashAlgorithm::Sha256V1.into(),
        hash: vec![1; 32],
        ..Default::default()
    };
    let kind = Some(proto::resource::Kind::ApiKey(key));
    proto::Resource { kind }.encode_to_vec().into()
}

fn hash_of(resources: &[Bytes]) -> Vec<u8> {
    fixture::received(1, resources.to_vec()).state_hash
}

#[tokio::test]
async fn a_change_is_in_force_before_it_is_acknowledged() {
    let mut stage = Stage::start().await;
    let (mut peer, subscribe) = stage.peer().await;
    assert!(subscribe.capabilities.contains(&proto::Capability::Delta.into()));
    peer.send_snapshot(&version(3), fixture::resources()).await;
    assert!(matches!(peer.next().await, Up::Ack(_)));
    let then = [fixture::resources(), vec![key("added0000000")]].concat();
    let delta = proto::Delta {
        from: Some(version(3)),
        to: Some(version(5)),
        upserts: vec![key("added0000000")],
        state_hash: hash_of(&then),
        ..Default::default()
    };
    // The second time it is what is held already.
    for _ in 0..2 {
        peer.send(Down::Delta(delta.clone())).await;
        let Up::Ack(ack) = peer.next().await else {
            panic!("it is sound")
        };
        assert_eq!(ack.version, Some(version(5)));
        assert_eq!(stage.revision(), Some(5));
    }
    let wrong = proto::Delta {
        from: Some(version(5)),
        to: Some(version(6)),
        ..delta.clone()
    };
    let bad = proto::Delta {
        upserts: vec![key("short")],
        state_hash: hash_of(&[then, vec![key("short")]].concat()),
        ..wrong.clone()
    };
    peer.send(Down::Delta(proto::Delta {
        upserts: vec![],
        state_hash: vec![1; 32],
        ..wrong
    }))
    .await;
    assert!(matches!(peer.next().await, Up::Resync(_)), "the hash differs");
    peer.send(Down::Delta(bad)).await;
    let Up::Nack(nack) = peer.next().await else {
        panic!("a key of that name cannot be")
    };
    assert_eq!(nack.version, Some(version(6)));
    assert_eq!(stage.revision(), Some(5));
    stage.shutdown.cancel();
}

#[tokio::test]
async fn what_was_lost_on_its_way_is_asked_for_and_what_was_refused_is_not() {
    let mut stage = Stage::start().await;
    let (mut peer, _) = stage.peer().await;
    peer.send_snapshot(&version(3), fixture::resources()).await;
    assert!(matches!(peer.next().await, Up::Ack(_)));
    let heartbeat = |sent| proto::Heartbeat {
        version: Some(version(9)),
        state_hash: vec![1; 32],
        server_time: None,
        live_nodes: 1,
        last_sent: Some(version(sent)),
    };
    peer.send_snapshot(&version(4), vec![]).await;
    assert!(matches!(peer.next().await, Up::Nack(_)));
    for sent in [3, 2, 4] {
        peer.send(Down::Heartbeat(heartbeat(sent))).await;
    }
    peer.send(Down::Heartbeat(heartbeat(5))).await;
    let Up::Resync(resync) = peer.next().await else {
        panic!("it was lost")
    };
    assert!(resync.reason.contains("did not come"));
    peer.send(Down::Drain(proto::Drain {})).await;
    timeout(DEADLINE, stage.shutdown.cancelled()).await.unwrap();
}

#[tokio::test]
async fn gaps_and_foreign_hashes_ask_for_the_whole() {
    let mut stage = Stage::start().await;
    let (mut peer, _) = stage.peer().await;
    peer.send(Down::Delta(proto::Delta::default())).await;
    assert!(matches!(peer.next().await, Up::Resync(_)));
    peer.send_snapshot(&version(3), fixture::resources()).await;
    assert!(matches!(peer.next().await, Up::Ack(_)));
    let heartbeat = |hash: Vec<u8>| proto::Heartbeat {
        version: Some(version(3)),
        state_hash: hash,
        server_time: None,
        live_nodes: 1,
        last_sent: None,
    };
    let held = stage.node.live.held().unwrap().state_hash.to_vec();
    peer.send(Down::Heartbeat(heartbeat(held))).await;
    peer.send(Down::Heartbeat(heartbeat(vec![1; 32]))).await;
    let Up::Resync(resync) = peer.next().await else {
        panic!("the hash differs")
    };
    assert!(resync.reason.contains("hash"));
    stage.shutdown.cancel();
}

#[tokio::test]
async fn more_than_announced_is_refused() {
    let mut stage = Stage::start().await;
    let (mut peer, _) = stage.peer().await;
    let begin = proto::SnapshotBegin {
        version: Some(version(1)),
        resource_count: 1,
        allow_empty: false,
    };
    peer.send(Down::SnapshotBegin(begin)).await;
    peer.send(Down::SnapshotChunk(proto::SnapshotChunk {
        resources: fixture::resources(),
    }))
    .await;
    assert!(matches!(peer.next().await, Up::Nack(_)));
    assert_eq!(stage.revision(), None);
    stage.shutdown.cancel();
}

#[tokio::test]
async fn a_probe_is_answered_whatever_it_asks() {
    let mut stage = Stage::start().await;
    let (mut peer, _) = stage.peer().await;
    peer.send_snapshot(&version(3), fixture::resources()).await;
    assert!(matches!(peer.next().await, Up::Ack(_)));
    for (provider, class) in [("alpha", "unreachable"), ("nobody", "refused")] {
        let probe = proto::Probe {
            probe_id: "1".into(),
            provider: provider.into(),
            model: "m".into(),
            timeout: None,
        };
        peer.send(Down::Probe(probe)).await;
        let Up::ProbeResult(result) = peer.next().await else {
            panic!("a probe is answered")
        };
        assert_eq!(
            (result.ok, result.error_class.as_str()),
            (false, class),
            "{}",
            result.message
        );
    }
    stage.shutdown.cancel();
}

#[tokio::test]
async fn the_control_plane_can_ask_for_the_end() {
    let mut stage = Stage::start().await;
    let (peer, _) = stage.peer().await;
    peer.send(Down::Drain(proto::Drain {})).await;
    timeout(DEADLINE, stage.shutdown.cancelled()).await.unwrap();
}
