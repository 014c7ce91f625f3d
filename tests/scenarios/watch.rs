//! Changes reach every node, and a key that is taken away is dead everywhere.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_proto::admin::v1::{DeleteApiKeyRequest, RevokeApiKeyRequest};
use bridge_tests::admin;
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::Script;
use bridge_tests::fleet_proxy::{Diet, FleetProxy, Tamper};
use bridge_tests::stage::{MODEL, Stage};

const NODES: usize = 3;

/// The promise for a connected data plane, at its loosest.
const REVOKED_MAX: Duration = Duration::from_secs(1);

async fn statuses(stage: &Stage, key: &str) -> Result<Vec<u16>> {
    let mut statuses = Vec::new();
    for node in 0..NODES {
        let answer = stage.bridge.client(node, key)?.try_key().await?;
        statuses.push(answer.status);
    }
    Ok(statuses)
}

#[tokio::test]
async fn a_revoked_key_is_dead_at_every_node_when_the_answer_comes() -> Result<()> {
    let stage = Stage::with_nodes(NODES).await?;
    let (key, record) = stage.admin.create_key("to be revoked").await?;
    stage.bridge.wait_until_accepted(&key).await?;

    let asked = Instant::now();
    let request = RevokeApiKeyRequest {
        id: record.id,
        timeout: None,
        terminate_streams: false,
    };
    let answer = stage.admin.keys().revoke_api_key(request).await?.into_inner();
    let took = asked.elapsed();
    assert_eq!(statuses(&stage, &key).await?, [401; NODES]);
    assert_eq!(statuses(&stage, &stage.key).await?, [200; NODES]);

    let mut nodes = answer.acknowledged_nodes;
    nodes.sort();
    assert_eq!(nodes, ["node-0", "node-1", "node-2"]);
    assert!(answer.pending_nodes.is_empty());
    assert!(took < REVOKED_MAX, "{took:?}");
    eprintln!("figure: revoked at {NODES} nodes in {} ms", took.as_millis());
    Ok(())
}

#[tokio::test]
async fn a_node_that_cannot_answer_is_named_and_catches_up() -> Result<()> {
    let mut stage = Stage::with_nodes(NODES).await?;
    let (key, record) = stage.admin.create_key("to be revoked").await?;
    stage.bridge.wait_until_accepted(&key).await?;
    stage.bridge.node(1)?.process()?.signal("STOP")?;
    let request = RevokeApiKeyRequest {
        id: record.id,
        timeout: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        terminate_streams: false,
    };
    let answer = stage.admin.keys().revoke_api_key(request).await?.into_inner();
    assert_eq!(answer.pending_nodes, ["node-1"]);
    assert_eq!(stage.bridge.client(0, &key)?.try_key().await?.status, 401);
    assert_eq!(stage.bridge.client(2, &key)?.try_key().await?.status, 401);

    stage.bridge.node(1)?.process()?.signal("CONT")?;
    stage.bridge.wait_until_refused(&key).await?;
    Ok(())
}

#[tokio::test]
async fn disabling_enabling_and_deleting_reach_every_node() -> Result<()> {
    let stage = Stage::with_nodes(NODES).await?;
    let (key, record) = stage.admin.create_key("on and off").await?;
    stage.bridge.wait_until_accepted(&key).await?;
    let record = stage.admin.set_key_enabled(&record, false).await?;
    stage.bridge.wait_until_refused(&key).await?;
    let record = stage.admin.set_key_enabled(&record, true).await?;
    stage.bridge.wait_until_accepted(&key).await?;
    let request = DeleteApiKeyRequest {
        id: record.id,
        revision: record.revision,
    };
    stage.admin.keys().delete_api_key(request).await?;
    stage.bridge.wait_until_refused(&key).await?;
    Ok(())
}

#[tokio::test]
async fn a_change_of_a_provider_counts_from_the_next_request_on() -> Result<()> {
    let mut stage = Stage::with_nodes(NODES).await?;
    stage.upstream.always(MODEL, Script::text("old"));
    stage.upstream.always("new-model", Script::text("new"));
    stage.offer(&["new-model"]).await?;
    for node in 0..NODES {
        let client = stage.bridge.client(node, &stage.key)?;
        assert_eq!(client.messages(&ask("haiku", "Hi")).await?.text(), "new");
        assert_eq!(client.messages(&ask("opus", "Hi")).await?.text(), "old");
    }
    Ok(())
}

#[tokio::test]
async fn a_bad_snapshot_is_refused_and_the_old_one_stays() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    let proxy = FleetProxy::start(&bridge.control().fleet_address(), Diet::Snapshots).await?;
    bridge.add_node_behind(proxy.port()).await?;
    let admin = bridge.admin().await?;
    let provider = admin::provider("unused", "http://127.0.0.1:1/v1", MODEL);
    admin.create_provider(provider).await?;
    let old = bridge.accepted_key(&admin).await?;

    for tamper in [
        Tamper::WrongHash,
        Tamper::LostResource,
        Tamper::OldVersion,
        Tamper::ForeignCluster,
    ] {
        proxy.forget();
        proxy.tamper(tamper);
        let (new, _) = admin.create_key("never seen").await?;
        let nack = proxy.wait_for_nack().await?;
        assert!(!nack.refusals.is_empty(), "{tamper:?}");
        assert_eq!(bridge.client(0, &old)?.try_key().await?.status, 200, "{tamper:?}");
        assert_eq!(bridge.client(0, &new)?.try_key().await?.status, 401, "{tamper:?}");
        assert_eq!(bridge.node(0)?.readiness().await, Some(200), "{tamper:?}");

        proxy.tamper(Tamper::Nothing);
        bridge.accepted_key(&admin).await?;
        bridge.wait_until_accepted(&new).await?;
    }
    Ok(())
}
