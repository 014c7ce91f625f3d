//! A risky change goes to one data plane first: what that one refuses reaches nobody else, and
//! what takes something away reaches everybody all the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{ListNodesRequest, Node, NodeState};
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::watcher::{Gauge, REFUSAL, Watcher};
use bridge_tests::{admin, wait};

/// Of equals the first by name is the one.
const FIRST: &str = "a-first";
/// The others wait so long for an answer of the first.
const FIRST_WAIT: Duration = Duration::from_secs(2);

struct Fleet {
    stage: Stage,
    first: Watcher,
}

impl Fleet {
    /// Two nodes that serve, and one that can be made to refuse.
    async fn start() -> Result<Self> {
        let mut stage = Stage::with_nodes(2).await?;
        let token = std::fs::read_to_string(stage.bridge.folder().join("node-token"))?;
        let address = stage.bridge.control().fleet_address();
        let first = Watcher::start(FIRST.to_owned(), address, token.trim(), &Arc::<Gauge>::default())?;
        let fleet = Self { stage, first };
        fleet
            .wait_for("all three to hold the same", |nodes| {
                nodes.len() == 3 && nodes.iter().all(|node| node.state() == NodeState::Current)
            })
            .await?;
        Ok(fleet)
    }

    async fn wait_for(&self, what: &str, is_so: impl Fn(&[Node]) -> bool) -> Result<Vec<Node>> {
        wait::until(what, || async {
            let list = self.stage.admin.fleet().list_nodes(ListNodesRequest {}).await;
            let nodes = list.ok()?.into_inner().nodes;
            is_so(&nodes).then_some(nodes)
        })
        .await
    }

    /// By name.
    async fn held(&self) -> Result<Vec<(String, u64)>> {
        let list = self.stage.admin.fleet().list_nodes(ListNodesRequest {}).await?;
        let nodes = list.into_inner().nodes.into_iter();
        Ok(nodes.map(|node| (node.id, node.acknowledged_revision)).collect())
    }
}

fn is_refused(nodes: &[Node]) -> bool {
    let mut first = nodes.iter().filter(|node| node.id == FIRST);
    first.any(|node| node.refusals.iter().any(|refusal| refusal.reason == REFUSAL))
}

#[tokio::test]
async fn what_the_first_refuses_reaches_nobody_else_and_revocations_reach_all() -> Result<()> {
    let fleet = Fleet::start().await?;
    fleet.stage.upstream.always(MODEL, Script::text("Hi"));
    let (revoked, record) = fleet.stage.admin.create_key("to be revoked").await?;
    fleet.stage.bridge.wait_until_accepted(&revoked).await?;
    fleet
        .wait_for("all to have the key", |nodes| {
            nodes.iter().all(|node| node.state() == NodeState::Current)
        })
        .await?;
    let before = fleet.held().await?;

    fleet.first.set_refusing(true);
    let bad = admin::provider("bad", &fleet.stage.upstream.base_url(), "whole@0");
    fleet.stage.admin.create_provider(bad).await?;
    fleet.wait_for("the first to refuse", is_refused).await?;
    assert_eq!(fleet.held().await?, before, "nobody else has it");

    // What takes something away passes what was stopped.
    let begun = Instant::now();
    fleet.stage.admin.set_key_enabled(&record, false).await?;
    fleet.stage.bridge.wait_until_refused(&revoked).await?;
    let took = begun.elapsed();
    eprintln!("figure: refused on both nodes after {} ms", took.as_millis());
    assert!(took < FIRST_WAIT, "{took:?}");
    for node in 0..2 {
        let key = fleet.stage.key.clone();
        let served = fleet
            .stage
            .bridge
            .client(node, &key)?
            .messages(&ask("haiku", "Hi"))
            .await?;
        assert_eq!(served.status, 200, "{served:?}");
    }

    // The next change goes to one first again; when that takes it, all have everything.
    fleet.first.set_refusing(false);
    let provider = fleet.stage.admin.get_provider("bad").await?;
    let timeout = provider.timeout.checked_add(1).context("no timeout")?;
    let repaired = bridge_proto::admin::v1::Provider { timeout, ..provider };
    fleet.stage.admin.update_provider(repaired, "timeout").await?;
    fleet
        .wait_for("all to have the repaired one", |nodes| {
            nodes
                .iter()
                .all(|node| node.state() == NodeState::Current && node.refusals.is_empty())
        })
        .await?;
    assert_eq!(fleet.first.seen().faults, Vec::<String>::new());
    Ok(())
}
