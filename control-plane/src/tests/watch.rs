//! The stream of a data plane, from the data plane's side.

mod changes;
pub(super) mod node;
mod stuck;

use std::time::{Duration, Instant};

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::fleet_service_client::FleetServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::settings_service_client::SettingsServiceClient;
use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use tokio::time::timeout;
use tonic::Code;

use self::node::{Node, Snapshot};
use super::{Bridge, DEADLINE, NODE_TOKEN};

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
async fn a_node_of_a_later_schema_is_served() {
    let bridge = Bridge::start().await;
    let newer = fleet::Subscribe {
        node_id: "newer".to_owned(),
        schema_max: 1_000,
        capabilities: vec![fleet::Capability::Probe.into(), 1_000],
        ..Default::default()
    };
    let mut node = Node::subscribed(&bridge, newer).await;
    let held = node.snapshot().await.version;
    node.ack(&held);
    let key = create_key(&bridge, "later").await;
    let next = node.snapshot_since(key.revision).await;
    assert!(next.key_ids().contains(&key.id.as_str()));
    node.ack(&next.version);
}

#[tokio::test]
async fn a_node_of_an_earlier_schema_gets_no_configuration_and_is_shown_as_such() {
    let bridge = Bridge::start().await;
    let key = create_key(&bridge, "to be revoked").await;
    let mut current = Node::named(&bridge, "current").await;
    let held = current.snapshot_since(key.revision).await;
    current.ack(&held.version);
    let older = |name: &str, held: Option<&Snapshot>| fleet::Subscribe {
        node_id: name.to_owned(),
        schema_max: 0,
        held: held.map(|held| held.version.clone()),
        held_state_hash: held.map(|held| held.hash.clone()).unwrap_or_default(),
        ..Default::default()
    };
    let mut empty = Node::subscribed(&bridge, older("empty", None)).await;
    let mut stale = Node::subscribed(&bridge, older("stale", Some(&held))).await;
    let nothing = |first: Option<Down>| match first {
        Some(Down::Heartbeat(heartbeat)) => assert_eq!(heartbeat.version, None),
        other => panic!("{other:?}"),
    };
    nothing(empty.next().await.unwrap());
    nothing(stale.next().await.unwrap());

    let mut keys = ApiKeyServiceClient::new(bridge.admin().await);
    let revoke = admin::RevokeApiKeyRequest {
        id: key.id,
        timeout: Some(prost_types::Duration {
            seconds: 60,
            nanos: 0,
        }),
        terminate_streams: false,
    };
    let acking = async {
        let next = current.snapshot_since(held.version.revision + 1).await;
        current.ack(&next.version);
    };
    let (revoked, ()) = tokio::join!(timeout(DEADLINE, keys.revoke_api_key(revoke)), acking);
    let revoked = revoked.expect("nobody waits for them").unwrap().into_inner();
    assert_eq!(revoked.acknowledged_nodes, ["current"]);
    assert_eq!(revoked.pending_nodes, ["stale"], "it may go on serving the key");

    // A status is answered by whatever is due: nothing.
    empty.send(Up::Resync(fleet::Resync::default()));
    nothing(empty.next().await.unwrap());
    let mut fleet = FleetServiceClient::new(bridge.admin().await);
    let list = fleet
        .list_nodes(admin::ListNodesRequest {})
        .await
        .unwrap()
        .into_inner();
    let shown: Vec<_> = list
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node.state()))
        .collect();
    use admin::NodeState::{Current, Incompatible};
    assert_eq!(
        shown,
        [
            ("current", Current),
            ("empty", Incompatible),
            ("stale", Incompatible)
        ]
    );
    let why = &list.nodes[1].incompatibilities[0];
    assert!(why.contains("gets no configuration"), "{why}");
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
        terminate_streams: false,
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
        terminate_streams: false,
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
        schema_max: 1,
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
