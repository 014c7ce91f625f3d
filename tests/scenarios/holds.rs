//! Breakers that an admin holds: every node goes by them at once, and lets go by itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{
    BreakerOverride, DeleteBreakerOverrideRequest, ExplainRequest, ListBreakerOverridesRequest,
    ListNodesRequest, Provider, SetBreakerOverrideRequest,
};
use bridge_proto::fleet::v1::BreakerState;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::{Faultd, Script};
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::{admin, wait};

const NODES: usize = 2;
const FIRST: &str = "scripted";
const SECOND: &str = "second";
/// More failures than a breaker of the defaults takes.
const FAILURES: usize = 12;

/// Two nodes and two providers, of which the first is asked first.
async fn two_providers() -> Result<(Stage, Faultd)> {
    let stage = Stage::with_nodes(NODES).await?;
    stage.upstream.always(MODEL, Script::text("from the first"));
    let upstream = Faultd::start().await?;
    upstream.always(SECOND, Script::text("from the second"));
    let provider = Provider {
        priority: 2,
        ..admin::provider(SECOND, &upstream.base_url(), SECOND)
    };
    stage.admin.create_provider(provider).await?;
    stage.settle().await?;
    Ok((stage, upstream))
}

async fn hold(stage: &Stage, state: BreakerState, lifetime: Duration) -> Result<BreakerOverride> {
    let request = SetBreakerOverrideRequest {
        provider: FIRST.to_owned(),
        model: String::new(),
        state: state.into(),
        lifetime: Some(lifetime.try_into()?),
        reason: "the data centre is on fire".to_owned(),
    };
    let answer = stage.admin.fleet().set_breaker_override(request).await?;
    answer.into_inner().r#override.context("a hold has no record")
}

/// Waits until every node has this provider answer.
async fn until_answered_by(stage: &Stage, provider: &str) -> Result<()> {
    for node in 0..NODES {
        let client = stage.bridge.client(node, &stage.key)?;
        wait::until(&format!("node {node} to go to {provider}"), || async {
            let answer = client.messages(&ask("opus", "Hi")).await.ok()?;
            (answer.header("x-bridge-provider") == Some(provider)).then_some(())
        })
        .await?;
    }
    Ok(())
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn traffic_moves_at_once_and_comes_back_when_it_is_let_go() -> Result<()> {
    let (mut stage, _second) = two_providers().await?;
    until_answered_by(&stage, FIRST).await?;
    let begun = Instant::now();
    let held = hold(&stage, BreakerState::Open, HOUR).await?;
    until_answered_by(&stage, SECOND).await?;
    let took = begun.elapsed();
    eprintln!(
        "figure: traffic of {NODES} nodes moved {} ms after a hold was asked for",
        took.as_millis()
    );

    let asked = stage.upstream.requests_for(MODEL).len();
    for node in 0..NODES {
        let client = stage.bridge.client(node, &stage.key)?;
        let answer = client.messages(&ask("opus", "Hi")).await?;
        assert_eq!(answer.header("x-bridge-attempts"), Some("1"), "{answer:?}");
        let explain = ExplainRequest {
            body: ask("opus", "Hi").to_string(),
            key_id: String::new(),
            node_id: format!("node-{node}"),
        };
        let answer = stage.admin.routing().explain(explain).await?.into_inner();
        let explained = answer.explanation.context("there is no explanation")?;
        let of = |provider: &str| {
            let mut candidates = explained.candidates.iter();
            candidates
                .find(|candidate| candidate.provider == provider)
                .map(|it| it.skipped.as_str())
        };
        assert_eq!((of(FIRST), of(SECOND)), (Some("held_open"), Some("")));
        let metrics = stage.bridge.node(node)?.metrics().await?;
        let told = format!("breaker_held{{provider=\"{FIRST}\",model=\"\"}} 1");
        assert!(metrics.contains(&told), "{metrics}");
    }
    assert_eq!(
        stage.upstream.requests_for(MODEL).len(),
        asked,
        "nobody asked the first"
    );
    // Nodes report every few seconds.
    wait::until("the fleet to show the hold", || async {
        let list = stage
            .admin
            .fleet()
            .list_nodes(ListNodesRequest {})
            .await
            .ok()?
            .into_inner();
        let shows = |node: &bridge_proto::admin::v1::Node| {
            node.breakers
                .iter()
                .any(|breaker| breaker.provider == FIRST && breaker.state() == BreakerState::Open)
        };
        list.nodes.iter().all(shows).then_some(())
    })
    .await?;

    let delete = DeleteBreakerOverrideRequest { id: held.id };
    let begun = Instant::now();
    stage.admin.fleet().delete_breaker_override(delete).await?;
    until_answered_by(&stage, FIRST).await?;
    let took = begun.elapsed();
    eprintln!("figure: and back after {} ms", took.as_millis());
    let list = stage
        .admin
        .fleet()
        .list_breaker_overrides(ListBreakerOverridesRequest {})
        .await?;
    assert!(list.into_inner().overrides.is_empty());
    Ok(())
}

#[tokio::test]
async fn nodes_let_go_by_themselves_while_the_control_plane_is_down() -> Result<()> {
    const LIFETIME: Duration = Duration::from_secs(4);
    let (mut stage, _second) = two_providers().await?;
    let begun = Instant::now();
    hold(&stage, BreakerState::Open, LIFETIME).await?;
    until_answered_by(&stage, SECOND).await?;
    stage.bridge.control().kill()?;
    until_answered_by(&stage, FIRST).await?;
    let took = begun.elapsed();
    // Times are kept to the millisecond, and clocks are compared to it.
    assert!(
        took + Duration::from_millis(50) >= LIFETIME,
        "let go after {took:?}"
    );
    eprintln!(
        "figure: a hold of {} ms ended after {} ms without a control plane",
        LIFETIME.as_millis(),
        took.as_millis()
    );
    Ok(())
}

#[tokio::test]
async fn a_breaker_that_is_held_closed_lets_failures_through() -> Result<()> {
    let (stage, _second) = two_providers().await?;
    hold(&stage, BreakerState::Closed, HOUR).await?;
    stage.settle().await?;
    stage
        .upstream
        .always(MODEL, Script::error(500, "server_error", "the engine is on fire"));
    let client = stage.client()?;
    for n in 1..=FAILURES {
        let before = stage.upstream.requests_for(MODEL).len();
        let answer = client.messages(&ask("opus", "Hi")).await?;
        assert_eq!(answer.header("x-bridge-provider"), Some(SECOND), "{answer:?}");
        assert!(
            stage.upstream.requests_for(MODEL).len() > before,
            "request {n} skipped it"
        );
    }
    Ok(())
}
