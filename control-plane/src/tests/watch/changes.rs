//! Changes instead of snapshots, and one node before the others.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_request::Message as Up;

use super::super::Bridge;
use super::create_key;
use super::node::{Node, Snapshot};

fn able(name: &str, held: Option<(&fleet::StoreVersion, &[u8])>) -> fleet::Subscribe {
    fleet::Subscribe {
        node_id: name.to_owned(),
        schema_max: 1,
        capabilities: vec![fleet::Capability::Delta.into()],
        held: held.map(|(version, _)| version.clone()),
        held_state_hash: held.map(|(_, hash)| hash.to_vec()).unwrap_or_default(),
        ..Default::default()
    }
}

/// A node that holds what there is when it comes.
async fn joined(bridge: &Bridge, name: &str) -> (Node, Snapshot) {
    let mut node = Node::subscribed(bridge, able(name, None)).await;
    let held = node.snapshot().await;
    node.ack(&held.version);
    (node, held)
}

/// The same, with this revision in what it holds.
async fn joined_since(bridge: &Bridge, name: &str, revision: u64) -> (Node, Snapshot) {
    let (mut node, mut held) = joined(bridge, name).await;
    while held.version.revision < revision {
        held.apply(&node.delta().await);
        node.ack(&held.version);
    }
    (node, held)
}

async fn put_provider(bridge: &Bridge, name: &str) -> u64 {
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let provider = admin::Provider {
        name: name.to_owned(),
        enabled: true,
        base_url: "http://127.0.0.1:9".to_owned(),
        models: Some(admin::TierModels {
            big: vec!["m".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let create = admin::CreateProviderRequest {
        provider: Some(provider),
        ..Default::default()
    };
    let created = providers.create_provider(create).await.unwrap().into_inner();
    created.provider.unwrap().revision
}

async fn revoke(bridge: &Bridge, id: &str) -> admin::RevokeApiKeyResponse {
    let mut keys = ApiKeyServiceClient::new(bridge.admin().await);
    let revoke = admin::RevokeApiKeyRequest {
        id: id.to_owned(),
        ..Default::default()
    };
    keys.revoke_api_key(revoke).await.unwrap().into_inner()
}

/// Without waiting for the fleet.
async fn delete(bridge: &Bridge, id: &str) {
    let mut keys = ApiKeyServiceClient::new(bridge.admin().await);
    let delete = admin::DeleteApiKeyRequest {
        id: id.to_owned(),
        ..Default::default()
    };
    keys.delete_api_key(delete).await.unwrap();
}

fn refuse(node: &Node, version: Option<fleet::StoreVersion>) {
    let refusal = fleet::Refusal {
        resource: Some(fleet::ResourceKey {
            kind: fleet::ResourceKind::Provider.into(),
            id: "bad".to_owned(),
        }),
        reason: "cannot use it".to_owned(),
    };
    node.send(Up::Nack(fleet::Nack {
        version,
        refusals: vec![refusal],
    }));
}

#[tokio::test]
async fn a_node_that_takes_changes_gets_them_instead_of_the_whole() {
    let bridge = Bridge::start().await;
    let (mut node, mut held) = joined(&bridge, "a").await;
    let key = create_key(&bridge, "ci").await;
    let delta = node.delta().await;
    assert_eq!((delta.upserts.len(), delta.removed.len()), (1, 0));
    assert_eq!(delta.from.as_ref(), Some(&held.version));
    held.apply(&delta);
    // Until it is acknowledged, later changes wait and are merged.
    let (other, third) = (
        create_key(&bridge, "two").await,
        create_key(&bridge, "three").await,
    );
    node.ack(&held.version);
    let (answer, ()) = tokio::join!(revoke(&bridge, &key.id), async {
        loop {
            held.apply(&node.delta().await);
            node.ack(&held.version);
            if !held.key_ids().contains(&key.id.as_str()) {
                break;
            }
        }
    });
    assert_eq!(answer.acknowledged_nodes, ["a"]);
    let ids = held.key_ids();
    assert!(ids.contains(&other.id.as_str()) && ids.contains(&third.id.as_str()));
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed() {
    let bridge = Bridge::start().await;
    let (node, mut held) = joined(&bridge, "a").await;
    drop(node);
    let key = create_key(&bridge, "ci").await;
    let mut back = Node::subscribed(&bridge, able("a", Some((&held.version, &held.hash)))).await;
    held.apply(&back.delta().await);
    assert_eq!(held.key_ids(), [key.id.as_str()]);

    let mut foreign = held.version.clone();
    foreign.cluster_id = vec![9; 16];
    let mut other = Node::subscribed(&bridge, able("b", Some((&foreign, &held.hash)))).await;
    assert_eq!(other.snapshot().await.hash, held.hash);
}

#[tokio::test]
async fn a_resync_gets_the_whole_and_a_report_of_something_else_too() {
    let bridge = Bridge::start().await;
    let (mut node, held) = joined(&bridge, "a").await;
    create_key(&bridge, "ci").await;
    node.delta().await;
    node.send(Up::Resync(fleet::Resync {
        reason: "lost it".to_owned(),
    }));
    let whole = node.snapshot().await;
    assert_eq!(whole.resources.len(), held.resources.len() + 1);
    node.ack(&whole.version);
    node.send(Up::Status(fleet::NodeStatus {
        held: Some(whole.version.clone()),
        state_hash: vec![1; 32],
        ..Default::default()
    }));
    assert_eq!(node.snapshot().await.hash, whole.hash);
}

#[tokio::test]
async fn a_risky_change_goes_to_one_node_first() {
    let bridge = Bridge::start().await;
    let key = create_key(&bridge, "ci").await;
    let (mut first, mut first_holds) = joined_since(&bridge, "a", key.revision).await;
    let (mut second, mut second_holds) = joined_since(&bridge, "b", key.revision).await;
    bridge.wait_for_acks(&["a", "b"], key.revision).await;
    put_provider(&bridge, "qwen").await;
    first_holds.apply(&first.delta().await);
    // It has not answered: the other one learns of a revocation and of nothing else.
    let later = create_key(&bridge, "later").await;
    delete(&bridge, &key.id).await;
    second_holds.apply(&second.delta().await);
    assert!(second_holds.key_ids().is_empty() && second_holds.providers().is_empty());
    second.ack(&second_holds.version);
    first.ack(&first_holds.version);
    first_holds.apply(&first.delta().await);
    assert_eq!(first_holds.key_ids(), [later.id.as_str()]);
    first.ack(&first_holds.version);
    // Under the number that it holds already.
    let rest = second.delta().await;
    assert_eq!(rest.from, rest.to);
    second_holds.apply(&rest);
    assert_eq!(second_holds.providers(), ["qwen"]);
    assert_eq!(first_holds.hash, second_holds.hash);
}

#[tokio::test]
async fn a_refusal_stops_a_change_and_a_revocation_goes_past_it() {
    let bridge = Bridge::start().await;
    let key = create_key(&bridge, "ci").await;
    let (mut first, mut first_holds) = joined_since(&bridge, "a", key.revision).await;
    let (mut second, mut second_holds) = joined_since(&bridge, "b", key.revision).await;
    bridge.wait_for_acks(&["a", "b"], key.revision).await;
    put_provider(&bridge, "bad").await;
    let risky = first.delta().await.to;
    refuse(&first, risky);
    let both = async {
        for (node, holds) in [(&mut first, &mut first_holds), (&mut second, &mut second_holds)] {
            holds.apply(&node.delta().await);
            assert!(holds.key_ids().is_empty() && holds.providers().is_empty());
            node.ack(&holds.version);
        }
    };
    let (answer, ()) = tokio::join!(revoke(&bridge, &key.id), both);
    assert_eq!(answer.acknowledged_nodes, ["a", "b"]);
    // The next change of the kind takes it along, to one node first.
    put_provider(&bridge, "good").await;
    first_holds.apply(&first.delta().await);
    assert_eq!(first_holds.providers(), ["bad", "good"]);
    first.ack(&first_holds.version);
    second_holds.apply(&second.delta().await);
    assert_eq!(second_holds.hash, first_holds.hash);
}

#[tokio::test]
async fn a_silent_node_holds_a_change_up_for_two_seconds() {
    let bridge = Bridge::start().await;
    let (_silent, _) = joined(&bridge, "a").await;
    let (mut second, mut holds) = joined(&bridge, "b").await;
    bridge.wait_for_acks(&["a", "b"], holds.version.revision).await;
    let begun = std::time::Instant::now();
    put_provider(&bridge, "qwen").await;
    holds.apply(&second.delta().await);
    assert_eq!(holds.providers(), ["qwen"]);
    assert!(begun.elapsed() >= crate::snapshot::rollout::CANARY_WAIT);
}
