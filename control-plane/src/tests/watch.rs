//! The stream of a data plane, from the data plane's side.

use std::time::{Duration, Instant};

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::settings_service_client::SettingsServiceClient;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use bridge_proto::fleet::v1::watch_service_client::WatchServiceClient;
use bridge_proto::fleet::v1::{self as fleet};
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use super::{Bearer, Bridge, DEADLINE, NODE_TOKEN};

/// A data plane that does only what it is told to.
struct Node {
    up: mpsc::UnboundedSender<fleet::WatchRequest>,
    down: Streaming<fleet::WatchResponse>,
}

struct Snapshot {
    version: fleet::StoreVersion,
    hash: Vec<u8>,
    allow_empty: bool,
    resources: Vec<fleet::Resource>,
}

impl Snapshot {
    fn key_ids(&self) -> Vec<&str> {
        self.resources
            .iter()
            .filter_map(|resource| match resource.kind.as_ref()? {
                fleet::resource::Kind::ApiKey(key) => Some(key.id.as_str()),
                _ => None,
            })
            .collect()
    }
}

impl Node {
    async fn open(bridge: &Bridge, token: &str) -> Result<Self, Status> {
        Self::open_on(bridge.channel(bridge.fleet).await, token).await
    }

    async fn open_on(channel: Channel, token: &str) -> Result<Self, Status> {
        let (up, requests) = mpsc::unbounded_channel();
        let mut client = WatchServiceClient::with_interceptor(channel, Bearer::new(token));
        let down = client
            .watch(UnboundedReceiverStream::new(requests))
            .await?
            .into_inner();
        Ok(Self { up, down })
    }

    async fn subscribed(bridge: &Bridge, subscribe: fleet::Subscribe) -> Self {
        let node = Self::open(bridge, NODE_TOKEN).await.unwrap();
        node.send(Up::Subscribe(subscribe));
        node
    }

    async fn named(bridge: &Bridge, name: &str) -> Self {
        let capabilities = vec![fleet::Capability::Probe.into()];
        let node_id = name.to_owned();
        Self::subscribed(
            bridge,
            fleet::Subscribe {
                node_id,
                capabilities,
                ..Default::default()
            },
        )
        .await
    }

    fn send(&self, message: Up) {
        self.up
            .send(fleet::WatchRequest {
                message: Some(message),
            })
            .unwrap();
    }

    fn ack(&self, version: &fleet::StoreVersion) {
        self.send(Up::Ack(fleet::Ack {
            version: Some(version.clone()),
        }));
    }

    async fn next(&mut self) -> Result<Option<Down>, Status> {
        let next = timeout(DEADLINE, self.down.message())
            .await
            .expect("the stream is silent");
        next.map(|response| response.map(|response| response.message.unwrap()))
    }

    /// The next message that is no heartbeat.
    async fn next_news(&mut self) -> Down {
        loop {
            match self.next().await.unwrap().expect("the stream ended") {
                Down::Heartbeat(_) => {}
                news => return news,
            }
        }
    }

    async fn snapshot(&mut self) -> Snapshot {
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
}

impl Node {
    /// The first snapshot with this revision in it; earlier ones are acknowledged.
    async fn snapshot_since(&mut self, revision: u64) -> Snapshot {
        loop {
            let snapshot = self.snapshot().await;
            if snapshot.version.revision >= revision {
                return snapshot;
            }
            self.ack(&snapshot.version);
        }
    }
}

async fn create_key(bridge: &Bridge, name: &str) -> admin::ApiKey {
    let mut keys = ApiKeyServiceClient::new(bridge.admin().await);
    let request = admin::CreateApiKeyRequest {
        name: name.to_owned(),
        ..Default::default()
    };
    keys.create_api_key(request)
        .await
        .unwrap()
        .into_inner()
        .api_key
        .unwrap()
}

#[tokio::test]
async fn only_the_node_token_opens_a_stream() {
    let bridge = Bridge::start().await;
    for token in ["wrong", "sk-bridge-aaaaaaaaaaaa-b"] {
        assert_eq!(
            Node::open(&bridge, token).await.err().unwrap().code(),
            Code::Unauthenticated
        );
    }
}

#[tokio::test]
async fn the_first_message_must_be_subscribe() {
    let bridge = Bridge::start().await;
    let mut node = Node::open(&bridge, NODE_TOKEN).await.unwrap();
    node.ack(&fleet::StoreVersion::default());
    assert_eq!(node.next().await.unwrap_err().code(), Code::InvalidArgument);
    let mut nameless = Node::named(&bridge, "").await;
    assert_eq!(nameless.next().await.unwrap_err().code(), Code::InvalidArgument);
}

/// One that knows more is the same: what it can do besides has a number that means nothing here.
#[tokio::test]
async fn a_node_of_another_schema_is_served() {
    let bridge = Bridge::start().await;
    let older = fleet::Subscribe {
        node_id: "older".to_owned(),
        ..Default::default()
    };
    let newer = fleet::Subscribe {
        node_id: "newer".to_owned(),
        schema_max: 1_000,
        capabilities: vec![fleet::Capability::Probe.into(), 1_000],
        ..Default::default()
    };
    for subscribe in [older, newer] {
        let mut node = Node::subscribed(&bridge, subscribe).await;
        let held = node.snapshot().await.version;
        node.ack(&held);
        let key = create_key(&bridge, "later").await;
        let next = node.snapshot_since(key.revision).await;
        assert!(next.key_ids().contains(&key.id.as_str()));
        node.ack(&next.version);
    }
}

#[tokio::test]
async fn a_change_reaches_the_node_after_its_ack_and_never_before() {
    let bridge = Bridge::start().await;
    let mut node = Node::named(&bridge, "a").await;
    let first = node.snapshot().await;
    assert!(
        first.allow_empty,
        "a new installation has neither keys nor providers"
    );
    // The first is not acknowledged: the next two changes wait and are merged.
    let (one, two) = (create_key(&bridge, "one").await, create_key(&bridge, "two").await);
    node.ack(&first.version);
    let second = node.snapshot_since(two.revision).await;
    let ids = second.key_ids();
    assert!(ids.contains(&one.id.as_str()) && ids.contains(&two.id.as_str()));
}

#[tokio::test]
async fn a_revocation_waits_for_every_node_and_names_the_others() {
    let bridge = Bridge::start().await;
    let key = create_key(&bridge, "ci").await;
    let (mut prompt, mut silent) = (
        Node::named(&bridge, "prompt").await,
        Node::named(&bridge, "silent").await,
    );
    for node in [&mut prompt, &mut silent] {
        let held = node.snapshot_since(key.revision).await.version;
        node.ack(&held);
    }
    let mut keys = ApiKeyServiceClient::new(bridge.admin().await);
    let acking = async {
        let snapshot = prompt.snapshot().await;
        assert!(snapshot.key_ids().is_empty());
        prompt.ack(&snapshot.version);
    };
    let revoke = admin::RevokeApiKeyRequest {
        id: key.id.clone(),
        timeout: Some(prost_types::Duration {
            seconds: 0,
            nanos: 700_000_000,
        }),
    };
    let (answer, ()) = tokio::join!(keys.revoke_api_key(revoke.clone()), acking);
    let answer = answer.unwrap().into_inner();
    assert_eq!(
        (answer.acknowledged_nodes, answer.pending_nodes),
        (vec!["prompt".to_owned()], vec!["silent".to_owned()])
    );
    assert!(!answer.api_key.unwrap().enabled && answer.revision > key.revision);

    let held = silent.snapshot().await.version;
    let started = Instant::now();
    silent.ack(&held);
    let again = keys
        .revoke_api_key(admin::RevokeApiKeyRequest {
            timeout: None,
            ..revoke
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (again.acknowledged_nodes.len(), again.revision),
        (2, answer.revision)
    );
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "it waits for acks, not for the timeout"
    );
}

#[tokio::test]
async fn a_refused_version_is_recorded_and_only_a_newer_one_is_sent() {
    let bridge = Bridge::start().await;
    let key = create_key(&bridge, "ci").await;
    let mut node = Node::named(&bridge, "a").await;
    let refused = node.snapshot_since(key.revision).await.version;
    let refusal = fleet::Refusal {
        resource: None,
        reason: "cannot use it".to_owned(),
    };
    node.send(Up::Nack(fleet::Nack {
        version: Some(refused.clone()),
        refusals: vec![refusal],
    }));
    node.send(Up::Resync(fleet::Resync {
        reason: "again".to_owned(),
    }));
    let mut keys = ApiKeyServiceClient::new(bridge.admin().await);
    let revoke = admin::RevokeApiKeyRequest {
        id: key.id,
        timeout: None,
    };
    let refusing = async {
        let next = node.snapshot().await.version;
        assert!(next.revision > refused.revision);
        node.send(Up::Nack(fleet::Nack {
            version: Some(next),
            refusals: Vec::new(),
        }));
    };
    let started = Instant::now();
    let (answer, ()) = tokio::join!(keys.revoke_api_key(revoke), refusing);
    assert_eq!(answer.unwrap().into_inner().pending_nodes, ["a"]);
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "a refusal is an answer"
    );
}

#[tokio::test]
async fn who_holds_the_newest_gets_heartbeats_only_until_it_asks() {
    let bridge = Bridge::start().await;
    let key = create_key(&bridge, "ci").await;
    let mut node = Node::named(&bridge, "a").await;
    let held = node.snapshot_since(key.revision).await;
    let subscribe = |hash: &[u8]| fleet::Subscribe {
        node_id: "b".to_owned(),
        held: Some(held.version.clone()),
        held_state_hash: hash.to_vec(),
        ..Default::default()
    };
    let mut back = Node::subscribed(&bridge, subscribe(&held.hash)).await;
    let Some(Down::Heartbeat(heartbeat)) = back.next().await.unwrap() else {
        panic!("no heartbeat first")
    };
    assert_eq!(
        (heartbeat.version.as_ref(), &heartbeat.state_hash),
        (Some(&held.version), &held.hash)
    );
    back.send(Up::Resync(fleet::Resync {
        reason: "lost".to_owned(),
    }));
    assert_eq!(back.snapshot().await.hash, held.hash);

    let mut differs = Node::subscribed(&bridge, subscribe(&[7; 32])).await;
    assert_eq!(differs.snapshot().await.hash, held.hash);
}

#[tokio::test]
async fn the_newer_stream_of_a_node_ends_the_older() {
    let bridge = Bridge::start().await;
    let mut older = Node::named(&bridge, "a").await;
    older.snapshot().await;
    let mut newer = Node::named(&bridge, "a").await;
    newer.snapshot().await;
    loop {
        match older.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without a reason"),
            Err(status) => {
                assert_eq!(status.code(), Code::Aborted);
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_shutdown_ends_every_stream() {
    let bridge = Bridge::start().await;
    let mut node = Node::named(&bridge, "a").await;
    node.snapshot().await;
    bridge.stopping.cancel();
    loop {
        match node.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without a reason"),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable);
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_provider_is_tested_by_the_data_plane() {
    let bridge = Bridge::start().await;
    let mut node = Node::named(&bridge, "a").await;
    let held = node.snapshot().await.version;
    node.ack(&held);
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let create = admin::CreateProviderRequest {
        provider: Some(admin::Provider {
            name: "qwen".to_owned(),
            enabled: true,
            base_url: "http://127.0.0.1:9".to_owned(),
            models: Some(admin::TierModels {
                small: vec!["tiny".to_owned()],
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    providers.create_provider(create).await.unwrap();
    let probing = async {
        // The provider as it is now comes before the question about it.
        let snapshot = node.snapshot().await;
        node.ack(&snapshot.version);
        let Down::Probe(probe) = node.next_news().await else {
            panic!("no probe")
        };
        assert_eq!((probe.provider.as_str(), probe.model.as_str()), ("qwen", "tiny"));
        let result = fleet::ProbeResult {
            probe_id: probe.probe_id,
            http_status: 401,
            ..Default::default()
        };
        node.send(Up::ProbeResult(result));
    };
    let test = admin::TestProviderRequest {
        name: "qwen".to_owned(),
        ..Default::default()
    };
    let (answer, ()) = tokio::join!(providers.test_provider(test), probing);
    let answer = answer.unwrap().into_inner();
    assert_eq!(
        (answer.ok, answer.http_status, answer.node_id.as_str()),
        (false, 401, "a")
    );
}

/// Makes a snapshot that does not fit into the window of a node that reads nothing.
async fn fill(bridge: &Bridge) -> u64 {
    const PROVIDERS: usize = 30;
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let models: Vec<_> = (0..16).map(|n| format!("{n:0>120}")).collect();
    let mut revision = 0;
    for n in 0..PROVIDERS {
        let provider = admin::Provider {
            name: format!("provider-{n}"),
            enabled: true,
            base_url: "https://upstream.example/v1".to_owned(),
            models: Some(admin::TierModels {
                big: models.clone(),
                middle: models.clone(),
                small: models.clone(),
            }),
            ..Default::default()
        };
        let create = admin::CreateProviderRequest {
            provider: Some(provider),
            ..Default::default()
        };
        revision = providers
            .create_provider(create)
            .await
            .unwrap()
            .into_inner()
            .provider
            .unwrap()
            .revision;
    }
    revision
}

#[tokio::test]
async fn nodes_that_read_nothing_hold_up_nobody() {
    const STUCK: usize = 6;
    const WINDOW_BYTES: u32 = 64 * 1024;
    let bridge = Bridge::start().await;
    let filled = fill(&bridge).await;
    let mut stuck = Vec::new();
    for n in 0..STUCK {
        let endpoint = Endpoint::from_shared(format!("http://{}", bridge.fleet)).unwrap();
        let endpoint = endpoint
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let node = Node::open_on(endpoint.connect().await.unwrap(), NODE_TOKEN)
            .await
            .unwrap();
        node.send(Up::Subscribe(fleet::Subscribe {
            node_id: format!("stuck-{n}"),
            ..Default::default()
        }));
        stuck.push(node);
    }
    let mut lively = Node::named(&bridge, "lively").await;
    let held = lively.snapshot_since(filled).await;
    lively.ack(&held.version);
    let key = create_key(&bridge, "ci").await;
    assert_eq!(
        lively.snapshot_since(key.revision).await.key_ids(),
        [key.id.as_str()]
    );

    // Once it reads, a stuck node finishes what was begun and then gets the newest.
    let mut late = stuck.pop().unwrap();
    let begun = late.snapshot().await;
    assert!(begun.version.revision < key.revision);
    late.ack(&begun.version);
    assert_eq!(late.snapshot().await.version.revision, key.revision);
}

#[tokio::test]
async fn how_long_nodes_serve_without_us_is_a_setting() {
    let bridge = Bridge::start().await;
    let mut node = Node::named(&bridge, "node").await;
    let first = node.snapshot().await;
    assert_eq!(stale_limit_s(&first), Some(24 * 60 * 60));
    node.ack(&first.version);
    let mut settings = SettingsServiceClient::new(bridge.admin().await);
    for stale_limit in [3_600, 0] {
        let update = admin::UpdateSettingsRequest {
            settings: Some(admin::Settings {
                stale_limit,
                ..Default::default()
            }),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["stale_limit".to_owned()],
            }),
            revision: 0,
        };
        let updated = settings.update_settings(update).await.unwrap().into_inner();
        let updated = updated.settings.unwrap();
        assert_eq!(updated.stale_limit, stale_limit);
        let next = node.snapshot_since(updated.revision).await;
        assert_eq!(stale_limit_s(&next), Some(stale_limit.into()));
        node.ack(&next.version);
    }
}

fn stale_limit_s(snapshot: &Snapshot) -> Option<i64> {
    snapshot
        .resources
        .iter()
        .find_map(|resource| match resource.kind.as_ref()? {
            fleet::resource::Kind::Settings(settings) => Some(settings.stale_limit?.seconds),
            _ => None,
        })
}
