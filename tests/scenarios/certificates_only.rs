//! A fleet that lets nobody in by the node token.

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{CreateJoinTokenRequest, CreateJoinTokenResponse, ListNodesRequest};
use bridge_tests::admin::Admin;
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;

const ONLY: (&str, &str) = ("NODE_CERTIFICATES_ONLY", "true");
const ISSUED: (&str, &str) = ("FLEET_TLS_ISSUED", "true");

fn owned(environment: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let variables = environment.iter();
    variables
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect()
}

async fn join_token(admin: &Admin) -> Result<CreateJoinTokenResponse> {
    let request = CreateJoinTokenRequest::default();
    Ok(admin.fleet().create_join_token(request).await?.into_inner())
}

#[tokio::test]
async fn who_has_a_certificate_is_in_and_who_has_the_token_is_told_why_not() -> Result<()> {
    let mut bridge = Bridge::start_with(0, owned(&[ISSUED, ONLY])).await?;
    let admin = bridge.admin().await?;
    let made = join_token(&admin).await?;
    let fleet = bridge.control().fleet_address();
    let at_control_plane = [
        ("CONTROL_PLANE_URL", format!("https://{fleet}")),
        ("AUTHORITY_FINGERPRINT", made.authority_fingerprint),
    ];
    let joining = [
        &at_control_plane[..],
        &[
            ("JOIN_TOKEN", made.join_token),
            ("NODE_TOKEN_FILE", "there-is-none".to_owned()),
        ],
    ];
    bridge.add_node_with(joining.concat()).await?;
    ensure!(
        !bridge.folder().join("node-token").exists(),
        "a token was made that opens nothing"
    );

    let mut stage = Stage::behind(bridge).await?;
    stage.upstream.always(MODEL, Script::text("hello"));
    let answer = stage.client()?.messages(&ask(MODEL, "hello")).await?;
    ensure!(answer.status == 200, "{answer:?}");

    let by_token = [&at_control_plane[..], &[("NODE_TOKEN", "any-token".to_owned())]];
    let port = fleet.rsplit(':').next().context("a port")?.parse()?;
    let second = stage.bridge.add_stopped_node_behind(port, by_token.concat())?;
    second.start()?;
    wait::until("the node with the token to be refused", || {
        let log = second.process().map(|process| process.log_text());
        let is_told = log.is_ok_and(|log| log.contains("lets nobody in without a certificate"));
        async move { is_told.then_some(()) }
    })
    .await?;
    assert_eq!(second.readiness().await, Some(503));
    let nodes = admin.fleet().list_nodes(ListNodesRequest {}).await?.into_inner();
    let names: Vec<_> = nodes.nodes.iter().map(|node| node.id.as_str()).collect();
    assert_eq!(names, ["node-0"]);
    Ok(())
}

/// A fleet of both kinds becomes one of certificates: who has only the token serves on with what
/// it holds, and hears of nothing.
#[tokio::test]
async fn a_fleet_is_closed_to_the_token_by_a_restart() -> Result<()> {
    let mut bridge = Bridge::start_with(0, owned(&[ISSUED])).await?;
    let admin = bridge.admin().await?;
    let pin = join_token(&admin).await?.authority_fingerprint;
    let fleet = bridge.control().fleet_address();
    let by_token = vec![
        ("CONTROL_PLANE_URL", format!("https://{fleet}")),
        ("AUTHORITY_FINGERPRINT", pin),
    ];
    bridge.add_node_with(by_token).await?;
    let mut stage = Stage::behind(bridge).await?;
    stage.upstream.always(MODEL, Script::text("hello"));
    let control = stage.bridge.control();
    control.kill()?;
    control.set_environment(owned(&[ISSUED, ONLY]));
    control.start().await?;
    let node = stage.bridge.node(0)?;
    wait::until("the node to be refused", || {
        let log = node.process().map(|process| process.log_text());
        let is_told = log.is_ok_and(|log| log.contains("lets nobody in without a certificate"));
        async move { is_told.then_some(()) }
    })
    .await?;
    let answer = stage.client()?.messages(&ask(MODEL, "hello")).await?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_fleet_that_nobody_could_join_is_not_served() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    let control = bridge.control();
    control.kill()?;
    let ran = control.run(&["serve"], &[ONLY]).await?;
    ensure!(
        !ran.is_good && ran.log.contains("NODE_CERTIFICATES_ONLY"),
        "{ran:?}"
    );
    ensure!(ran.log.contains("FLEET_TLS_ISSUED"), "{ran:?}");
    Ok(())
}
