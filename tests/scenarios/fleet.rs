//! Changes instead of snapshots, whatever happens to them on their way; streams that end with
//! their key; and what an admin is shown of the fleet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{
    DrainNodeRequest, ForgetNodeRequest, ListNodesRequest, NodeState, RevokeApiKeyRequest,
};
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::fleet_proxy::{Diet, FleetProxy, Tamper};
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::watcher::Watcher;
use bridge_tests::{admin, wait};

/// The promise for what runs with a key that is taken away.
const ENDED_MAX: Duration = Duration::from_secs(2);
/// The promise for what goes wrong on the way.
const HEALED_MAX: Duration = Duration::from_secs(10);
const MISSED: usize = 500;
const MISSED_BYTES_MAX: usize = 200 * 1024;
const DELTAS: &str = "bridge_control_plane_deltas_sent_total";
const SNAPSHOTS: &str = "bridge_control_plane_snapshots_sent_total";

#[tokio::test]
async fn a_node_that_comes_back_gets_what_it_missed_and_no_snapshot() -> Result<()> {
    let mut stage = Stage::start().await?;
    let kept = stage
        .bridge
        .node(0)?
        .directory()
        .join("data/snapshot-cache/a.snapshot");
    wait::until("the node to keep its snapshot", || async {
        kept.exists().then_some(())
    })
    .await?;
    stage.bridge.node(0)?.kill()?;
    for n in 0..MISSED {
        stage.admin.create_key(&format!("missed {n}")).await?;
    }
    let (last, _) = stage.admin.create_key("the last").await?;
    let before = stage.bridge.control().metric(SNAPSHOTS).await?;
    stage.bridge.node(0)?.start()?;
    let begun = Instant::now();
    stage.bridge.node(0)?.wait_until_ready().await?;
    stage.bridge.wait_until_accepted(&last).await?;
    eprintln!(
        "figure: {MISSED} missed changes after {} ms",
        begun.elapsed().as_millis()
    );
    assert_eq!(stage.bridge.control().metric(SNAPSHOTS).await?, before);
    assert!(stage.bridge.control().metric(DELTAS).await? >= 1.0);
    Ok(())
}

#[tokio::test]
async fn what_was_missed_is_one_small_change() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    let admin = bridge.admin().await?;
    let token = std::fs::read_to_string(bridge.folder().join("node-token"))?;
    let address = bridge.control().fleet_address();
    let mut watcher = Watcher::start("watcher".to_owned(), address, token.trim(), &Arc::default())?;
    let (_, first) = admin.create_key("seen").await?;
    watcher.wait_for(first.revision).await?;
    let before = watcher.seen();
    watcher.leave();
    let mut last = first.revision;
    for n in 0..MISSED {
        last = admin.create_key(&format!("missed {n}")).await?.1.revision;
    }
    wait::until("all of it to be published", || async {
        let nodes = admin.fleet().list_nodes(ListNodesRequest {}).await.ok()?;
        (nodes.into_inner().published_revision >= last).then_some(())
    })
    .await?;
    watcher.come_back();
    watcher.wait_for(last).await?;
    let after = watcher.seen();
    let bytes = after.delta_bytes - before.delta_bytes;
    assert_eq!(
        (after.snapshots, after.faults.len()),
        (before.snapshots, 0),
        "{after:?}"
    );
    assert_eq!(after.deltas, before.deltas + 1);
    assert!(bytes <= MISSED_BYTES_MAX, "{bytes}");
    eprintln!("figure: {MISSED} missed changes in one of {bytes} bytes");
    Ok(())
}

#[tokio::test]
async fn changes_that_are_lost_doubled_or_damaged_are_healed() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    let proxy = FleetProxy::start(&bridge.control().fleet_address(), Diet::Changes).await?;
    bridge.add_node_behind(proxy.port()).await?;
    let admin = bridge.admin().await?;
    admin
        .create_provider(admin::provider("unused", "http://127.0.0.1:1/v1", MODEL))
        .await?;
    bridge.accepted_key(&admin).await?;
    for tamper in [
        Tamper::TwiceChanged,
        Tamper::WrongHashOfChange,
        Tamper::LostResourceOfChange,
        Tamper::LostChange,
    ] {
        proxy.tamper(tamper);
        let begun = Instant::now();
        let (key, record) = admin.create_key("one of many").await?;
        bridge.wait_until_accepted(&key).await?;
        let took = begun.elapsed();
        assert!(took <= HEALED_MAX, "{tamper:?}: {took:?}");
        eprintln!("figure: {tamper:?} healed after {} ms", took.as_millis());
        proxy.tamper(Tamper::Nothing);
        admin.set_key_enabled(&record, false).await?;
        bridge.wait_until_refused(&key).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_runs_with_a_key_ends_with_it_and_nothing_else_does() -> Result<()> {
    let stage = Stage::with_nodes(2).await?;
    let (key, record) = stage.admin.create_key("to be ended").await?;
    stage.bridge.wait_until_accepted(&key).await?;
    let gate = Gate::closed();
    let story = || Script::text("Once upon a time").hold_after(2, &gate);
    stage.upstream.always(MODEL, story());
    let mut ending = Vec::new();
    for node in 0..2 {
        let mut stream = stage
            .bridge
            .client(node, &key)?
            .stream(&ask("haiku", "A story"))
            .await?;
        stream.next_of("content_block_delta").await?;
        ending.push(stream);
    }
    let mut other = stage.client()?.stream(&ask("haiku", "A story")).await?;
    other.next_of("content_block_delta").await?;
    let revoke = RevokeApiKeyRequest {
        id: record.id,
        timeout: None,
        terminate_streams: true,
    };
    let begun = Instant::now();
    stage.admin.keys().revoke_api_key(revoke).await?;
    for stream in ending {
        let rest = stream.to_end().await?;
        assert_eq!(rest.error_type(), "permission_error");
    }
    let took = begun.elapsed();
    assert!(took <= ENDED_MAX, "{took:?}");
    eprintln!("figure: streams of a key ended after {} ms", took.as_millis());
    gate.open();
    let whole = other.to_end().await?;
    assert_eq!(whole.text(), "Once upon a time");
    Ok(())
}

#[tokio::test]
async fn a_request_without_an_answer_yet_ends_with_403() -> Result<()> {
    let stage = Stage::start().await?;
    let (key, record) = stage.admin.create_key("to be ended").await?;
    stage.bridge.wait_until_accepted(&key).await?;
    stage.upstream.always(MODEL, Script::silence());
    let client = stage.bridge.client(0, &key)?;
    let asking = tokio::spawn(async move { client.messages(&ask("haiku", "Hi")).await });
    wait::until("the upstream to be asked", || async {
        (!stage.upstream.requests_for(MODEL).is_empty()).then_some(())
    })
    .await?;
    let revoke = RevokeApiKeyRequest {
        id: record.id,
        timeout: None,
        terminate_streams: true,
    };
    stage.admin.keys().revoke_api_key(revoke).await?;
    let answer = asking.await??;
    assert_eq!((answer.status, answer.error_type()), (403, "permission_error"));
    Ok(())
}

#[tokio::test]
async fn the_fleet_is_shown_drained_and_forgotten() -> Result<()> {
    let stage = Stage::with_nodes(2).await?;
    let mut fleet = stage.admin.fleet();
    let list = wait::until("both nodes to be current", || {
        let mut fleet = fleet.clone();
        async move {
            let list = fleet.list_nodes(ListNodesRequest {}).await.ok()?.into_inner();
            (list.current == 2).then_some(list)
        }
    })
    .await?;
    let names: Vec<_> = list.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!((names, list.connected), (vec!["node-0", "node-1"], 2));
    assert!(
        list.nodes
            .iter()
            .all(|node| node.acknowledged_revision == list.published_revision)
    );
    let id = "node-1".to_owned();
    let forget = ForgetNodeRequest { id: id.clone() };
    let refused = fleet
        .forget_node(forget.clone())
        .await
        .err()
        .context("it is connected")?;
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    fleet.drain_node(DrainNodeRequest { id: id.clone() }).await?;
    wait::until("the node to be gone", || {
        let mut fleet = fleet.clone();
        async move {
            let list = fleet.list_nodes(ListNodesRequest {}).await.ok()?.into_inner();
            let mut gone = list.nodes.iter();
            gone.any(|node| node.id == "node-1" && node.state() == NodeState::Disconnected)
                .then_some(())
        }
    })
    .await?;
    fleet.forget_node(forget).await?;
    let list = fleet.list_nodes(ListNodesRequest {}).await?.into_inner();
    assert_eq!(list.nodes.len(), 1);
    Ok(())
}
