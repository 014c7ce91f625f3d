//! Several control planes on one database: each takes changes and feeds nodes, and one
//! that dies takes nothing with it that it had acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{
    DrainNodeRequest, ExplainRequest, ForgetNodeRequest, GetApiKeyRequest, GetHealthRequest, HealthState,
    ListNodesRequest, ListNodesResponse, NodeState, RevokeApiKeyRequest, RevokeApiKeyResponse,
    TestProviderRequest,
};
use bridge_tests::admin::Admin;
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use tonic::Code;

const NODES: usize = 3;
/// Changes that are acknowledged before one of the control planes is killed, and in all.
const KILLED_AFTER: usize = 40;
const CHANGES: usize = 120;
/// Every so many changes take a key away instead of making one.
const REVOKE_EVERY: usize = 3;
const REVOCATIONS: usize = 6;
/// The promise for what runs with a key that is taken away.
const ENDED_MAX: Duration = Duration::from_secs(2);

/// Two control planes with their nodes: those with an even number prefer the first.
/// Each node knows `ways` of them.
async fn two_control_planes(ways: usize) -> Result<Option<(Stage, Admin)>> {
    let Some(mut bridge) = Bridge::start_on_postgres(0).await? else {
        return Ok(None);
    };
    let second = bridge.add_replica().await?;
    let (fleet, admin) = (second.fleet_address(), second.admin_address());
    let mut urls = [bridge.control().fleet_address(), fleet].map(|address| format!("http://{address}"));
    for _ in 0..NODES {
        let ways = urls[..ways].join(",");
        bridge.add_node_with(vec![("CONTROL_PLANE_URL", ways)]).await?;
        urls.reverse();
    }
    let second = Admin::login(&admin).await?;
    Ok(Some((Stage::behind(bridge).await?, second)))
}

async fn revoke(admin: &Admin, id: String) -> Result<RevokeApiKeyResponse> {
    let request = RevokeApiKeyRequest {
        id,
        timeout: None,
        terminate_streams: false,
    };
    Ok(admin.keys().revoke_api_key(request).await?.into_inner())
}

#[tokio::test]
async fn a_revocation_waits_for_the_nodes_of_every_control_plane() -> Result<()> {
    let Some((stage, second)) = two_control_planes(1).await? else {
        return Ok(());
    };
    let mut took = Vec::new();
    for n in 0..REVOCATIONS {
        let (by, other) = if n % 2 == 0 {
            (&stage.admin, &second)
        } else {
            (&second, &stage.admin)
        };
        let (key, record) = other.create_key("to be revoked").await?;
        stage.bridge.wait_until_accepted(&key).await?;
        let asked = Instant::now();
        let answer = revoke(by, record.id).await?;
        took.push(asked.elapsed());
        for node in 0..NODES {
            let status = stage.bridge.client(node, &key)?.try_key().await?.status;
            assert_eq!(status, 401, "node {node} of {answer:?}");
        }
        let mut nodes = answer.acknowledged_nodes;
        nodes.sort();
        assert_eq!(nodes, ["node-0", "node-1", "node-2"]);
        assert!(answer.pending_nodes.is_empty());
    }
    took.sort();
    eprintln!(
        "figure: revoked at the nodes of two control planes, {REVOCATIONS} times: p50 {} ms, max {} ms",
        took[REVOCATIONS / 2].as_millis(),
        took[REVOCATIONS - 1].as_millis()
    );
    Ok(())
}

/// A change that was acknowledged.
struct Done {
    key: String,
    is_revoked: bool,
}

/// Keys as the admin API has acknowledged them, by id.
type Acknowledged = BTreeMap<String, Done>;

/// Makes and revokes keys until there were enough changes, or none is taken any more.
async fn change(admin: Admin, count: &AtomicUsize, is_over: &AtomicBool) -> (Acknowledged, usize) {
    let (mut acknowledged, mut open, mut failed) = (Acknowledged::new(), Vec::new(), 0);
    while !is_over.load(Ordering::SeqCst) {
        let n = count.load(Ordering::SeqCst);
        let oldest = (n % REVOKE_EVERY == REVOKE_EVERY - 1)
            .then(|| open.pop())
            .flatten();
        let done = match oldest {
            Some(id) => revoke(&admin, String::clone(&id)).await.map(|_| {
                if let Some(done) = acknowledged.get_mut(&id) {
                    done.is_revoked = true;
                }
            }),
            None => admin.create_key("made").await.map(|(key, record)| {
                let is_revoked = false;
                open.push(record.id.clone());
                acknowledged.insert(record.id, Done { key, is_revoked });
            }),
        };
        match done {
            Ok(()) if count.fetch_add(1, Ordering::SeqCst) + 1 >= CHANGES => {
                is_over.store(true, Ordering::SeqCst)
            }
            Ok(()) => {}
            // It may have been done or not; it is not counted on either way.
            Err(_) => {
                failed += 1;
                break;
            }
        }
    }
    (acknowledged, failed)
}

#[tokio::test]
async fn a_control_plane_that_is_killed_takes_no_acknowledged_change_with_it() -> Result<()> {
    let Some((mut stage, second)) = two_control_planes(2).await? else {
        return Ok(());
    };
    let (count, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let killing = async {
        wait::until("changes before the kill", || async {
            (count.load(Ordering::SeqCst) >= KILLED_AFTER).then_some(())
        })
        .await?;
        stage.bridge.control().kill()
    };
    let (first, rest, killed) = tokio::join!(
        change(stage.admin.clone(), &count, &is_over),
        change(second.clone(), &count, &is_over),
        killing,
    );
    killed?;
    assert_eq!((first.1, rest.1), (1, 0), "only who was killed has failed");
    assert_eq!(count.load(Ordering::SeqCst), CHANGES);

    // Whatever came before this key is at every node too.
    let started = Instant::now();
    let (fresh, _) = second.create_key("after it").await?;
    stage.bridge.wait_until_accepted(&fresh).await?;
    let converged = started.elapsed();
    let acknowledged: Vec<_> = first.0.into_iter().chain(rest.0).collect();
    let mut revoked = 0;
    for (n, (id, Done { key, is_revoked })) in acknowledged.iter().enumerate() {
        let request = GetApiKeyRequest { id: id.clone() };
        let stored = second.keys().get_api_key(request).await?.into_inner().api_key;
        let stored = stored.with_context(|| format!("{id} was acknowledged and is gone"))?;
        if *is_revoked {
            assert!(!stored.enabled, "{id}");
            revoked += 1;
        }
        let node = n % NODES;
        let status = stage.bridge.client(node, key)?.try_key().await?.status;
        assert_eq!(status != 401, stored.enabled, "node {node}, key {id}");
    }
    assert!(revoked > 0 && acknowledged.len() > revoked);
    eprintln!(
        "figure: {CHANGES} changes by two control planes ({} keys, {revoked} revoked), one killed after {KILLED_AFTER}: \
         0 acknowledged lost, {NODES} nodes converged through the other in {} ms",
        acknowledged.len(),
        converged.as_millis()
    );

    stage.bridge.control().start().await?;
    let again = stage.bridge.admin().await?;
    let (key, _) = again.create_key("by the one that came back").await?;
    stage.bridge.wait_until_accepted(&key).await
}

/// Asks one control plane until the fleet is as it should be.
async fn until_shown(
    admin: &Admin,
    what: &str,
    is_so: impl Fn(&ListNodesResponse) -> bool,
) -> Result<ListNodesResponse> {
    wait::until(what, || async {
        let list = admin
            .fleet()
            .list_nodes(ListNodesRequest {})
            .await
            .ok()?
            .into_inner();
        is_so(&list).then_some(list)
    })
    .await
}

fn state_of(list: &ListNodesResponse, id: &str) -> Option<NodeState> {
    let mut nodes = list.nodes.iter();
    nodes.find(|node| node.id == id).map(|node| node.state())
}

/// Nodes 0 and 2 are at the first control plane, node 1 is at the second.
const THERE: &str = "node-1";

#[tokio::test]
async fn every_control_plane_shows_and_commands_the_whole_fleet() -> Result<()> {
    let Some((stage, second)) = two_control_planes(1).await? else {
        return Ok(());
    };
    let both = [&stage.admin, &second];
    for admin in both {
        let list = until_shown(admin, "all nodes to be current", |list| {
            list.current as usize == NODES
        })
        .await?;
        let ids: Vec<_> = list.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(ids, ["node-0", "node-1", "node-2"]);
        assert_eq!(list.connected as usize, NODES);
    }

    // Explained and tested by a node of the other one.
    stage.upstream.always(MODEL, Script::text("pong"));
    for (admin, node) in [(&stage.admin, THERE), (&second, "node-0")] {
        let explain = ExplainRequest {
            body: ask("opus", "Hi").to_string(),
            key_id: String::new(),
            node_id: node.to_owned(),
        };
        let asked = Instant::now();
        let answer = admin.routing().explain(explain).await?.into_inner();
        eprintln!(
            "figure: explained by a node of the other control plane in {} ms",
            asked.elapsed().as_millis()
        );
        assert_eq!(answer.node_id, node);
        let explained = answer.explanation.context("there is no explanation")?;
        assert_eq!(explained.candidates.len(), 1);
    }
    let nobody = ExplainRequest {
        body: ask("opus", "Hi").to_string(),
        key_id: String::new(),
        node_id: "nobody".to_owned(),
    };
    let refused = second
        .routing()
        .explain(nobody)
        .await
        .err()
        .context("it is not there")?;
    assert_eq!(refused.code(), Code::FailedPrecondition);

    // What runs at the nodes of both ends with its key.
    let (key, record) = stage.admin.create_key("to be ended").await?;
    stage.bridge.wait_until_accepted(&key).await?;
    let gate = Gate::closed();
    stage
        .upstream
        .always(MODEL, Script::text("Once upon a time").hold_after(2, &gate));
    let mut ending = Vec::new();
    for node in 0..NODES {
        let client = stage.bridge.client(node, &key)?;
        let mut stream = client.stream(&ask("haiku", "A story")).await?;
        stream.next_of("content_block_delta").await?;
        ending.push(stream);
    }
    let revoke = RevokeApiKeyRequest {
        id: record.id,
        timeout: None,
        terminate_streams: true,
    };
    let begun = Instant::now();
    let answer = second.keys().revoke_api_key(revoke).await?.into_inner();
    assert_eq!(answer.untold_nodes, Vec::<String>::new());
    for stream in ending {
        assert_eq!(stream.to_end().await?.error_type(), "permission_error");
    }
    let took = begun.elapsed();
    assert!(took <= ENDED_MAX, "{took:?}");
    eprintln!(
        "figure: streams at {NODES} nodes of two control planes ended after {} ms",
        took.as_millis()
    );
    gate.open();

    // Drained and forgotten from the other one.
    let unknown = DrainNodeRequest {
        id: "nobody".to_owned(),
    };
    let refused = stage
        .admin
        .fleet()
        .drain_node(unknown)
        .await
        .err()
        .context("it is not there")?;
    assert_eq!(refused.code(), Code::NotFound);
    let forget = ForgetNodeRequest { id: THERE.to_owned() };
    let refused = stage
        .admin
        .fleet()
        .forget_node(forget.clone())
        .await
        .err()
        .context("it is connected")?;
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let drain = DrainNodeRequest { id: THERE.to_owned() };
    stage.admin.fleet().drain_node(drain).await?;
    for admin in both {
        until_shown(admin, "the node to be gone", |list| {
            state_of(list, THERE) == Some(NodeState::Disconnected)
        })
        .await?;
    }
    stage.admin.fleet().forget_node(forget).await?;
    for admin in both {
        until_shown(admin, "the node to be forgotten", |list| {
            state_of(list, THERE).is_none()
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_provider_is_tested_by_whoever_has_a_node() -> Result<()> {
    let Some(mut bridge) = Bridge::start_on_postgres(1).await? else {
        return Ok(());
    };
    let second = bridge.add_replica().await?.admin_address();
    let second = Admin::login(&second).await?;
    let stage = Stage::behind(bridge).await?;
    stage.upstream.always(MODEL, Script::text("pong"));
    // The second one hears within moments that the first has a node.
    until_shown(&second, "the node of the first", |list| list.connected == 1).await?;
    let test = TestProviderRequest {
        name: stage.provider.name.clone(),
        model: String::new(),
        timeout: None,
    };
    let answer = second.providers().test_provider(test).await?.into_inner();
    assert!(answer.ok, "{answer:?}");
    assert_eq!(answer.node_id, "node-0");
    let health = GetHealthRequest {
        provider: stage.provider.name.clone(),
    };
    let kept = stage.admin.health().get_health(health).await?.into_inner().health;
    assert_eq!(kept.context("there is no health")?.state(), HealthState::Healthy);
    Ok(())
}
