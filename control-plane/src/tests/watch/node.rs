//! A data plane that does only what a test tells it to.

use std::collections::BTreeMap;

use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use bridge_proto::fleet::v1::watch_service_client::WatchServiceClient;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::super::{Bearer, Bridge, DEADLINE, NODE_TOKEN};

pub(in crate::tests) struct Node {
    up: mpsc::UnboundedSender<fleet::WatchRequest>,
    down: Streaming<fleet::WatchResponse>,
}

pub(in crate::tests) struct Snapshot {
    pub(in crate::tests) version: fleet::StoreVersion,
    pub(in crate::tests) hash: Vec<u8>,
    pub(in crate::tests) allow_empty: bool,
    pub(in crate::tests) resources: Vec<fleet::Resource>,
}

impl Snapshot {
    pub(in crate::tests) fn key_ids(&self) -> Vec<&str> {
        self.resources
            .iter()
            .filter_map(|resource| match resource.kind.as_ref()? {
                fleet::resource::Kind::ApiKey(key) => Some(key.id.as_str()),
                _ => None,
            })
            .collect()
    }
}

impl Snapshot {
    pub(in crate::tests) fn providers(&self) -> Vec<&str> {
        self.resources
            .iter()
            .filter_map(|resource| match resource.kind.as_ref()? {
                fleet::resource::Kind::Provider(provider) => Some(provider.name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// By the contract: only on what is held, and only if the hash fits afterwards.
    pub(in crate::tests) fn apply(&mut self, delta: &fleet::Delta) {
        assert_eq!(delta.from.as_ref(), Some(&self.version));
        let mut encoded: BTreeMap<_, _> = self
            .resources
            .iter()
            .map(|resource| (key_of(resource), resource.encode_to_vec()))
            .collect();
        for key in &delta.removed {
            encoded.remove(&(key.kind, key.id.clone()));
        }
        for upsert in &delta.upserts {
            let resource = fleet::Resource::decode(upsert.clone()).unwrap();
            encoded.insert(key_of(&resource), upsert.to_vec());
        }
        self.hash = encoded.values().fold(vec![0; 32], |hash, resource| {
            hash.iter()
                .zip(Sha256::digest(resource))
                .map(|(a, b)| a ^ b)
                .collect()
        });
        assert_eq!(self.hash, delta.state_hash);
        let resources = encoded.values();
        self.resources = resources
            .map(|bytes| fleet::Resource::decode(bytes.as_slice()).unwrap())
            .collect();
        self.version = delta.to.clone().unwrap();
    }
}

fn key_of(resource: &fleet::Resource) -> (i32, String) {
    use fleet::resource::Kind;
    match resource.kind.as_ref().unwrap() {
        Kind::Provider(it) => (fleet::ResourceKind::Provider.into(), it.name.clone()),
        Kind::ApiKey(it) => (fleet::ResourceKind::ApiKey.into(), it.id.clone()),
        Kind::ModelRule(it) => (fleet::ResourceKind::ModelRule.into(), it.id.clone()),
        Kind::Settings(_) => (fleet::ResourceKind::Settings.into(), String::new()),
        Kind::BreakerOverride(it) => (fleet::ResourceKind::BreakerOverride.into(), it.id.clone()),
    }
}

impl Node {
    pub(in crate::tests) async fn open(bridge: &Bridge, token: &str) -> Result<Self, Status> {
        Self::open_on(bridge.channel(bridge.fleet).await, token).await
    }

    pub(in crate::tests) async fn open_on(channel: Channel, token: &str) -> Result<Self, Status> {
        Self::open_as(channel, Bearer::new(token)).await
    }

    pub(in crate::tests) async fn open_as(channel: Channel, bearer: Bearer) -> Result<Self, Status> {
        let (up, requests) = mpsc::unbounded_channel();
        let mut client = WatchServiceClient::with_interceptor(channel, bearer);
        let down = client
            .watch(UnboundedReceiverStream::new(requests))
            .await?
            .into_inner();
        Ok(Self { up, down })
    }

    pub(in crate::tests) async fn subscribed(bridge: &Bridge, subscribe: fleet::Subscribe) -> Self {
        let node = Self::open(bridge, NODE_TOKEN).await.unwrap();
        node.send(Up::Subscribe(subscribe));
        node
    }

    pub(in crate::tests) async fn named(bridge: &Bridge, name: &str) -> Self {
        let capabilities = vec![fleet::Capability::Probe.into()];
        let node_id = name.to_owned();
        Self::subscribed(
            bridge,
            fleet::Subscribe {
                node_id,
                schema_max: 1,
                capabilities,
                ..Default::default()
            },
        )
        .await
    }

    pub(in crate::tests) fn send(&self, message: Up) {
        self.up
            .send(fleet::WatchRequest {
                message: Some(message),
            })
            .unwrap();
    }

    pub(in crate::tests) fn ack(&self, version: &fleet::StoreVersion) {
        self.send(Up::Ack(fleet::Ack {
            version: Some(version.clone()),
        }));
    }

    pub(in crate::tests) async fn next(&mut self) -> Result<Option<Down>, Status> {
        let next = timeout(DEADLINE, self.down.message())
            .await
            .expect("the stream is silent");
        next.map(|response| response.map(|response| response.message.unwrap()))
    }

    /// The next message that is no heartbeat.
    pub(in crate::tests) async fn next_news(&mut self) -> Down {
        loop {
            match self.next().await.unwrap().expect("the stream ended") {
                Down::Heartbeat(_) => {}
                news => return news,
            }
        }
    }

    pub(in crate::tests) async fn snapshot(&mut self) -> Snapshot {
        let Down::SnapshotBegin(begin) = self.next_news().await else {
            panic!("no snapshot begins")
        };
        let mut encoded = Vec::new();
        loop {
            match self.next_news().await {
                Down::SnapshotChunk(chunk) => encoded.extend(chunk.resources),
                Down::SnapshotEnd(end) => {
                    assert_eq!(begin.resource_count, encoded.len() as u64);
                    assert_eq!(begin.version, end.version);
                    let hash = encoded.iter().fold(vec![0; 32], |hash, resource| {
                        hash.iter()
                            .zip(Sha256::digest(resource))
                            .map(|(a, b)| a ^ b)
                            .collect()
                    });
                    assert_eq!(hash, end.state_hash);
                    let resources = encoded
                        .iter()
                        .map(|bytes| fleet::Resource::decode(bytes.clone()).unwrap());
                    return Snapshot {
                        version: end.version.unwrap(),
                        hash,
                        allow_empty: begin.allow_empty,
                        resources: resources.collect(),
                    };
                }
                other => panic!("in the middle of a snapshot: {other:?}"),
            }
        }
    }

    /// The first snapshot with this revision in it; earlier ones are acknowledged.
    pub(in crate::tests) async fn snapshot_since(&mut self, revision: u64) -> Snapshot {
        loop {
            let snapshot = self.snapshot().await;
            if snapshot.version.revision >= revision {
                return snapshot;
            }
            self.ack(&snapshot.version);
        }
    }

    pub(in crate::tests) async fn delta(&mut self) -> fleet::Delta {
        match self.next_news().await {
            Down::Delta(delta) => delta,
            other => panic!("no change: {other:?}"),
        }
    }
}
